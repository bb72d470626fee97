package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"faultline/alert/history"
)

// tally is what is kept of one site in one slot or day.
type tally struct {
	history.Counts
	seen uint32 // of a day: the slots in which it was seen
}

func (t *tally) fields() [5]*uint32 {
	return [...]*uint32{&t.OK, &t.Failed, &t.Blocked, &t.None, &t.seen}
}

// tallies are those of one chunk of sites. As a value they are one after the other: a byte that tells which fields are not
// zero, then these as varints. A site that is well takes two bytes a slot.
type tallies [chunkSites]tally

// read fills t from a value; what cannot be read is left zero.
func (t *tallies) read(v []byte) {
	b, err := unseal(v)
	if err != nil {
		return
	}
	for i := 0; i < len(t) && len(b) > 0; i++ {
		set := b[0]
		b = b[1:]
		for f, field := range t[i].fields() {
			if set&(1<<f) == 0 {
				continue
			}
			x, n := binary.Uvarint(b)
			if n <= 0 {
				*t = tallies{}
				return
			}
			*field, b = uint32(x), b[n:]
		}
	}
}

func (t *tallies) value() []byte {
	b := make([]byte, sealLen, sealLen+4*chunkSites)
	end := sealLen
	for i := range t {
		at := len(b)
		b = append(b, 0)
		for f, field := range t[i].fields() {
			if *field != 0 {
				b[at] |= 1 << f
				b = binary.AppendUvarint(b, uint64(*field))
			}
		}
		if b[at] != 0 {
			end = len(b)
		}
	}
	return seal(b[:end])
}

// A sealed value begins with the version of its form and a checksum. The history is not under the sum of a bucket: it is
// large, and one bad value of it shall cost that value and not the state.
const (
	sealVersion = 1
	sealLen     = 1 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal fills the first sealLen bytes of v, which are kept free for it.
func seal(v []byte) []byte {
	v[0] = sealVersion
	binary.LittleEndian.PutUint32(v[1:], crc32.Checksum(v[sealLen:], castagnoli))
	return v
}

func unseal(v []byte) ([]byte, error) {
	switch {
	case len(v) < sealLen:
		return nil, errors.New("it is cut short")
	case v[0] != sealVersion:
		return nil, errors.New("its version is not known")
	case binary.LittleEndian.Uint32(v[1:]) != crc32.Checksum(v[sealLen:], castagnoli):
		return nil, errors.New("wrong checksum")
	}
	return v[sealLen:], nil
}

func sealed(v []byte) error {
	_, err := unseal(v)
	return err
}
