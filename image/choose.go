package image

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"penstock/internal/hint"
)

func digestOf(text string) digest.Digest { return digest.Digest(text) }

const (
	refName = v1.AnnotationRefName
	// attestation is the annotation of what BuildKit says of an image beside it.
	attestation = "vnd.docker.reference.type"
	depthMost   = 4    // of indexes within indexes
	choicesMost = 4096 // manifests looked at
)

// Resolve finds the image that a tag means on this architecture; "" is the only one there.
func (l Layout) Resolve(tag string) (Found, error) { return l.resolve(tag, runtime.GOARCH) }

func (l Layout) resolve(tag, arch string) (Found, error) {
	index, err := l.index()
	if err != nil {
		return Found{}, err
	}
	tags := map[string]bool{}
	var named []v1.Descriptor
	for _, d := range index.Manifests {
		if name := d.Annotations[refName]; name != "" {
			tags[name] = true
		}
		if tag == "" || d.Annotations[refName] == tag {
			named = append(named, d)
		}
	}
	known := strings.Join(slices.Sorted(maps.Keys(tags)), ", ")
	if len(named) == 0 {
		return Found{}, hint.Errorf(tagsHint(known), "%s: it has no tag %q", l.dir, tag)
	}
	l.room = new(int64(roomMost))
	c := chooser{layout: l, arch: arch, left: choicesMost}
	for _, d := range named {
		if err := c.expand(d, 0); err != nil {
			return Found{}, fmt.Errorf("%s: %w", l.dir, err)
		}
	}
	found, err := c.choose()
	switch {
	case errors.Is(err, errSeveral):
		return Found{}, hint.Errorf("add :TAG: "+known, "%s: %w", l.dir, err)
	case err != nil:
		return Found{}, fmt.Errorf("%s: %w", l.dir, err)
	}
	return found, nil
}

func tagsHint(known string) string {
	if known == "" {
		return "it has none: leave :TAG out"
	}
	return "it has " + known
}

var errSeveral = errors.New("several images")

// chooser finds the one image for an architecture below descriptors.
type chooser struct {
	layout Layout
	arch   string
	left   int // descriptors that may still be looked at
	fits   []v1.Descriptor
	others []string // platforms that don't
	// unknown is a media type that is none of an image.
	unknown string
}

// expand follows indexes and sorts out what is no image for this architecture.
func (c *chooser) expand(d v1.Descriptor, depth int) error {
	if c.left--; c.left < 0 {
		return fmt.Errorf("more than %d manifests", choicesMost)
	}
	switch d.MediaType {
	case v1.MediaTypeImageIndex, dockerList:
		if depth == depthMost {
			return fmt.Errorf("indexes within indexes, more than %d deep", depthMost)
		}
		text, err := c.layout.blob(d)
		if err != nil {
			return err
		}
		var index v1.Index
		if err := parse(text, &index); err != nil {
			return fmt.Errorf("parse index %s: %w", Short(d.Digest.String()), err)
		}
		for _, below := range index.Manifests {
			if err := c.expand(below, depth+1); err != nil {
				return err
			}
		}
		return nil
	case v1.MediaTypeImageManifest, dockerManifest:
	default:
		c.unknown = d.MediaType
		return nil
	}
	if d.Annotations[attestation] != "" || d.ArtifactType != "" || d.Platform != nil && d.Platform.OS == "unknown" {
		return nil // told of an image, and none itself
	}
	if d.Platform != nil && !runsOn(*d.Platform, c.arch) {
		c.others = append(c.others, platformText(*d.Platform))
		return nil
	}
	if !slices.ContainsFunc(c.fits, func(f v1.Descriptor) bool { return f.Digest == d.Digest }) {
		c.fits = append(c.fits, d)
	}
	return nil
}

// choose is the one that fits; what an image's own configuration says of its platform
// counts where the index says nothing.
func (c *chooser) choose() (Found, error) {
	var found []Found
	for _, d := range c.fits {
		f, err := c.layout.image(d)
		if err != nil {
			return Found{}, err
		}
		if p := f.Config.Platform; (p.OS != "" || p.Architecture != "") && !runsOn(p, c.arch) {
			c.others = append(c.others, platformText(p))
			continue
		}
		found = append(found, f)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Found{}, fmt.Errorf("%w: %d", errSeveral, len(found))
	case len(c.others) > 0:
		return Found{}, fmt.Errorf("for %s, and this host is linux/%s", strings.Join(slices.Compact(slices.Sorted(slices.Values(c.others))), ", "), c.arch)
	}
	if c.unknown != "" {
		return Found{}, fmt.Errorf("no image is in it: media type %q is not known", c.unknown)
	}
	return Found{}, errors.New("no image is in it")
}

// runsOn leaves out the later levels of amd64, which not every processor has.
func runsOn(p v1.Platform, arch string) bool {
	if p.OS != "" && p.OS != "linux" || p.Architecture != "" && p.Architecture != arch {
		return false
	}
	return arch != "amd64" || p.Variant == "" || p.Variant == "v1"
}

func platformText(p v1.Platform) string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}

// CheckPlatform says why an image isn't for this host.
func CheckPlatform(os, arch, variant string) error {
	p := v1.Platform{OS: os, Architecture: arch, Variant: variant}
	if runsOn(p, runtime.GOARCH) {
		return nil
	}
	return fmt.Errorf("for %s, and this host is linux/%s", platformText(p), runtime.GOARCH)
}
