package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	"penstock/backend"
	"penstock/internal/atomicfile"
)

// PromptText is what a CLI is told, and what goes with its prompt.
type PromptText struct {
	System, Prompt string
	Attachments    []backend.Attachment
}

func (t *PromptText) isEmpty() bool { return t.Prompt+t.System == "" && len(t.Attachments) == 0 }

// TextLength is how long each text of a conversation is, in bytes, and what goes with the
// prompt.
type TextLength struct {
	Prompt int64 `json:"prompt"`
	System int64 `json:"system"`
	// Attachments lie behind the prompt in its file, in this order; Sum is the CRC-32C of
	// all their bytes.
	Attachments []AttachmentLength `json:"attachments,omitempty"`
	Sum         uint32             `json:"sum,omitempty"`
}

// AttachmentLength is an attachment without its data, and how many bytes that has.
type AttachmentLength struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Bytes int64  `json:"bytes"`
}

// LengthOf is that of both texts and of what goes with them.
func LengthOf(t *PromptText) *TextLength {
	n := &TextLength{Prompt: int64(len(t.Prompt)), System: int64(len(t.System))}
	for _, a := range t.Attachments {
		n.Attachments = append(n.Attachments, AttachmentLength{a.Name, a.Type, int64(len(a.Data))})
		n.Sum = crc32.Update(n.Sum, castagnoli(), a.Data)
	}
	return n
}

// all is how long the prompt's file is.
func (n *TextLength) all() (int64, error) {
	all := n.Prompt
	for _, a := range n.Attachments {
		if all += a.Bytes; a.Bytes < 0 || all < 0 {
			return 0, fmt.Errorf("attachment %q: %d bytes: not a length", a.Name, a.Bytes)
		}
	}
	if n.Prompt < 0 {
		return 0, fmt.Errorf("prompt: %d bytes: not a length", n.Prompt)
	}
	return all, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (cp *Checkpoint) texts() *PromptText {
	return &PromptText{Prompt: cp.Request.Prompt, System: cp.Request.System, Attachments: cp.Request.Attachments}
}

func (cp *Checkpoint) setTexts(t *PromptText) {
	cp.Request.Prompt, cp.Request.System, cp.Request.Attachments = t.Prompt, t.System, t.Attachments
}

// Names in the store of what a CLI that has forgotten its session is told.
const (
	freshPromptName = "fresh-prompt"
	freshSystemName = "fresh-system"
)

// saveTexts puts the attachments behind the prompt: a daemon of a version that knows none
// finds a prompt of another length, and doesn't tell it without them.
func (d *Dir) saveTexts(promptName, systemName string, t *PromptText) error {
	prompt := []byte(t.Prompt)
	for _, a := range t.Attachments {
		prompt = append(prompt, a.Data...)
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{promptName, prompt}, {systemName, []byte(t.System)}} {
		if err := d.putStored(file.name, file.data); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) loadTexts(promptName, systemName string, n *TextLength) (*PromptText, error) {
	all, err := n.all()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.StorePath(promptName), err)
	}
	prompt, err := d.readStored(promptName, all)
	if err != nil {
		return nil, err
	}
	system, err := d.readStored(systemName, n.System)
	if err != nil {
		return nil, err
	}
	t := &PromptText{Prompt: string(prompt[:n.Prompt]), System: string(system)}
	prompt = prompt[n.Prompt:]
	for _, a := range n.Attachments {
		t.Attachments = append(t.Attachments, backend.Attachment{Name: a.Name, Type: a.Type, Data: prompt[:a.Bytes:a.Bytes]})
		prompt = prompt[a.Bytes:]
	}
	if sum := LengthOf(t).Sum; sum != n.Sum {
		return nil, fmt.Errorf("%s: checksum of the attachments %08x instead of %08x", d.StorePath(promptName), sum, n.Sum)
	}
	return t, nil
}

// putStored replaces one of the run's files in the store; its name is flushed later.
func (d *Dir) putStored(name string, data []byte) error {
	for _, p := range d.storePaths(name) {
		if err := atomicfile.Put(p, data, d.Flush); err != nil {
			return err
		}
	}
	return nil
}

// readStored reads a file that has exactly so many bytes.
func (d *Dir) readStored(name string, long int64) ([]byte, error) {
	data, err := readUpTo(d.StorePath(name), long)
	if err == nil && int64(len(data)) != long {
		err = fmt.Errorf("%s: %d bytes instead of %d", d.StorePath(name), len(data), long)
	}
	return data, err
}

// LoadTexts gives a checkpoint what its CLI may still have to be told.
func (d *Dir) LoadTexts(cp *Checkpoint) error {
	if cp.Texts == nil {
		return nil
	}
	t, err := d.loadTexts(promptStoreName, systemStoreName, cp.Texts)
	if err == nil {
		cp.setTexts(t)
	}
	return err
}

// SaveFresh keeps it for the next daemon. Its names are flushed as those of SaveCheckpoint.
func (d *Dir) SaveFresh(f *PromptText) error { return d.saveTexts(freshPromptName, freshSystemName, f) }

// LoadFresh is nil where a run can't be started anew.
func (d *Dir) LoadFresh(cp *Checkpoint) (*PromptText, error) {
	if cp.Fresh == nil || cp.Restart == RestartDone {
		return nil, nil
	}
	return d.loadTexts(freshPromptName, freshSystemName, cp.Fresh)
}

// DropFresh is for a run that has ended.
func (d *Dir) DropFresh() error {
	var errs []error
	for _, name := range []string{freshPromptName, freshSystemName} {
		for _, p := range d.storePaths(name) {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
