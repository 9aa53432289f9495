package dialect

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

// Ids of answers and of their items are made of the run's: so an id finds its run, and a
// replay says the same. A client may have named its run in a way that no client of
// another dialect would take: in the place of such a name stands its hash, behind a dash,
// with which no other key begins.
//
//	resp_<key>    the answer        msg0_<key>    its first item
const hashLen = 16 // bytes

var (
	keyPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,39}$`)
	itemPattern = regexp.MustCompile(`^([a-z]+)([0-9]{1,9})_(-?[A-Za-z0-9_][A-Za-z0-9_-]{0,39})$`)
)

// Key is what stands for a run in the ids of its answer, and own tells that it is the run's id.
func Key(run string) (key string, own bool) {
	if keyPattern.MatchString(run) {
		return run, true
	}
	sum := sha256.Sum256([]byte(run))
	return "-" + hex.EncodeToString(sum[:hashLen]), false
}

// ID is the answer's id with a dialect's prefix, such as "resp".
func ID(prefix, run string) string {
	key, _ := Key(run)
	return prefix + "_" + key
}

// ItemID is the id of one item of an answer, such as "msg0_...".
func ItemID(kind string, index int, run string) string {
	key, _ := Key(run)
	return kind + strconv.Itoa(index) + "_" + key
}

// ParseID gives the key of an id with that prefix.
func ParseID(prefix, id string) (key string, ok bool) {
	key, ok = strings.CutPrefix(id, prefix+"_")
	return key, ok && (keyPattern.MatchString(key) || isHash(key))
}

// ParseItemID takes an item's id apart.
func ParseItemID(id string) (kind string, index int, key string, ok bool) {
	m := itemPattern.FindStringSubmatch(id)
	if m == nil {
		return "", 0, "", false
	}
	index, err := strconv.Atoi(m[2])
	return m[1], index, m[3], err == nil
}

func isHash(key string) bool {
	return len(key) == 1+2*hashLen && key[0] == '-' && strings.Trim(key[1:], "0123456789abcdef") == ""
}
