// Package asn tells which network an address lies in: the number of the autonomous system that announces it.
package asn

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Table knows networks from a file. It is safe for concurrent use.
type Table struct {
	four []span4
	six  []span6
	mmdb *maxminddb.Reader
}

type span4 struct {
	from, to uint32
	asn      uint32
}

type span6 struct {
	from, to [16]byte
	asn      uint32
}

// Bounds of a file.
const (
	maxFile   = 1 << 30
	maxRanges = 8 << 20
)

// Load reads a file: a MaxMind database when its name ends in .mmdb, else CSV with a line for each range, "FIRST,LAST,ASN" or
// "PREFIX,ASN"; further fields are not read, and neither is a first line with names.
func Load(path string) (*Table, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading networks: %w", err)
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("reading networks: %s is larger than %d MiB", path, maxFile>>20)
	}
	if strings.HasSuffix(path, ".mmdb") {
		text, err := os.ReadFile(path) // and not mapped: it may be replaced while we run
		if err != nil {
			return nil, fmt.Errorf("reading networks: %w", err)
		}
		db, err := maxminddb.OpenBytes(text)
		if err != nil {
			return nil, fmt.Errorf("reading networks: %s is no MaxMind database: %w", path, err)
		}
		return &Table{mmdb: db}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading networks: %w", err)
	}
	defer f.Close()
	t, err := parse(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return nil, fmt.Errorf("reading networks: %s:%w", path, err)
	}
	return t, nil
}

// parse reads CSV. An error begins with the line.
func parse(in io.Reader) (*Table, error) {
	r := csv.NewReader(in)
	r.FieldsPerRecord, r.ReuseRecord, r.Comment = -1, true, '#'
	t := &Table{}
	for n := 1; ; n++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		from, to, asn, err := fields(record)
		if err != nil {
			if n == 1 {
				continue // names of the fields
			}
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("%d: %w", line, err)
		}
		if asn != 0 {
			t.add(from, to, asn)
		}
		if len(t.four)+len(t.six) > maxRanges {
			return nil, fmt.Errorf("%d: more than %d ranges", n, maxRanges)
		}
	}
	if len(t.four)+len(t.six) == 0 {
		return nil, errors.New("1: it holds no range of addresses with the number of a network")
	}
	slices.SortFunc(t.four, func(a, b span4) int { return cmp.Compare(a.from, b.from) })
	slices.SortFunc(t.six, func(a, b span6) int { return slices.Compare(a.from[:], b.from[:]) })
	return t, nil
}

const form = `a line is FIRST,LAST,ASN or PREFIX,ASN, as in "192.0.2.0,192.0.2.255,64500" or "192.0.2.0/24,64500"`

func fields(record []string) (from, to netip.Addr, asn uint32, err error) {
	var number string
	if p, bad := netip.ParsePrefix(strings.TrimSpace(record[0])); bad == nil && len(record) > 1 {
		from, to, number = p.Masked().Addr(), lastOf(p), record[1]
	} else {
		if len(record) < 3 {
			return from, to, 0, errors.New(form)
		}
		if from, err = netip.ParseAddr(strings.TrimSpace(record[0])); err != nil {
			return from, to, 0, fmt.Errorf("%w; %s", err, form)
		}
		if to, err = netip.ParseAddr(strings.TrimSpace(record[1])); err != nil {
			return from, to, 0, fmt.Errorf("%w; %s", err, form)
		}
		number = record[2]
	}
	from, to = from.Unmap(), to.Unmap()
	if from.Is4() != to.Is4() || to.Less(from) {
		return from, to, 0, fmt.Errorf("%s to %s is no range; %s", from, to, form)
	}
	number = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(number)), "AS")
	if number == "" {
		return from, to, 0, nil
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return from, to, 0, fmt.Errorf("%q is no number of a network; %s", number, form)
	}
	return from, to, uint32(n), nil
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func (t *Table) add(from, to netip.Addr, asn uint32) {
	if from.Is4() {
		t.four = append(t.four, span4{number4(from), number4(to), asn})
		return
	}
	t.six = append(t.six, span6{from.As16(), to.As16(), asn})
}

// Of is the network of an address, as "as64500"; "" = unknown. Where ranges overlap, the one that begins last counts.
func (t *Table) Of(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case t == nil || !a.IsValid():
		return ""
	case t.mmdb != nil:
		var rec struct {
			ASN uint32 `maxminddb:"autonomous_system_number"`
		}
		if err := t.mmdb.Lookup(a).Decode(&rec); err != nil {
			return ""
		}
		return name(rec.ASN)
	case a.Is4():
		x := number4(a)
		i, found := slices.BinarySearchFunc(t.four, x, func(s span4, x uint32) int { return cmp.Compare(s.from, x) })
		if found {
			i++
		}
		if i > 0 && t.four[i-1].to >= x {
			return name(t.four[i-1].asn)
		}
	default:
		x := a.As16()
		i, found := slices.BinarySearchFunc(t.six, x, func(s span6, x [16]byte) int { return slices.Compare(s.from[:], x[:]) })
		if found {
			i++
		}
		if i > 0 && slices.Compare(t.six[i-1].to[:], x[:]) >= 0 {
			return name(t.six[i-1].asn)
		}
	}
	return ""
}

func name(asn uint32) string {
	if asn == 0 {
		return ""
	}
	return "as" + strconv.FormatUint(uint64(asn), 10)
}
