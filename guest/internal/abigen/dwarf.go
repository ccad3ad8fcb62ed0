package main

import (
	"cmp"
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// structure is one struct abi_*, without the prefix.
type structure struct {
	name   string
	size   int64
	line   int64 // where it is declared, for a stable order
	fields []field
}

type field struct {
	name, goType, comment string
	offset, size          int64
}

// readStructs compiles the header and reads every struct abi_* from the
// object's debug information.
func readStructs(header string) ([]structure, error) {
	object, err := compile(header, "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(filepath.Dir(object))
	f, err := elf.Open(object)
	if err != nil {
		return nil, fmt.Errorf("open compiled header: %w", err)
	}
	defer f.Close()
	data, err := f.DWARF()
	if err != nil {
		return nil, fmt.Errorf("debug information of compiled header: %w", err)
	}
	var structs []structure
	for r := data.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("debug information of compiled header: %w", err)
		}
		if e == nil {
			break
		}
		name, _ := e.Val(dwarf.AttrName).(string)
		if e.Tag != dwarf.TagStructType || !strings.HasPrefix(name, "abi_") {
			continue
		}
		t, err := data.Type(e.Offset)
		if err != nil {
			return nil, fmt.Errorf("struct %s: %w", name, err)
		}
		s, err := newStructure(t.(*dwarf.StructType))
		if err != nil {
			return nil, err
		}
		s.line, _ = e.Val(dwarf.AttrDeclLine).(int64)
		structs = append(structs, s)
	}
	if len(structs) == 0 {
		return nil, fmt.Errorf("%s: no struct abi_* in the debug information", header)
	}
	slices.SortFunc(structs, func(a, b structure) int { return cmp.Compare(a.line, b.line) })
	return structs, nil
}

// evaluate has the compiler compute the values that are expressions: each is a variable
// of an object, from where it is read.
func evaluate(header string, defs []define) error {
	var source strings.Builder
	for i, d := range defs {
		if d.expression {
			fmt.Fprintf(&source, "const unsigned long long value_%d = ABI_%s;\n", i, d.name)
		}
	}
	object, err := compile(header, source.String())
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(object))
	f, err := elf.Open(object)
	if err != nil {
		return fmt.Errorf("open compiled header: %w", err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return fmt.Errorf("symbols of compiled header: %w", err)
	}
	for _, s := range symbols {
		var i int
		if n, _ := fmt.Sscanf(s.Name, "value_%d", &i); n != 1 {
			continue
		}
		content, err := f.Sections[s.Section].Data()
		if err != nil || s.Size != 8 || s.Value+8 > uint64(len(content)) {
			return fmt.Errorf("value of ABI_%s in the compiled header: %d bytes at %d: %w", defs[i].name, s.Size, s.Value, err)
		}
		defs[i].value = fmt.Sprintf("%#x", f.ByteOrder.Uint64(content[s.Value:]))
		defs[i].expression = false
	}
	for _, d := range defs {
		if d.expression {
			return fmt.Errorf("%s: the compiler gave no value for ABI_%s", header, d.name)
		}
	}
	return nil
}

// compile returns the path of an object with the header's types and what is defined
// beside, in a temporary directory of its own.
func compile(header, source string) (string, error) {
	cc := cmp.Or(os.Getenv("CC"), "gcc")
	path, err := filepath.Abs(header)
	if err != nil {
		return "", fmt.Errorf("locate header: %w", err)
	}
	dir, err := os.MkdirTemp("", "abigen")
	if err != nil {
		return "", fmt.Errorf("make build directory: %w", err)
	}
	object := filepath.Join(dir, "abi.o")
	cmd := exec.Command(cc, "-std=c11", "-g", "-gdwarf-4", "-fno-eliminate-unused-debug-types", "-ffreestanding",
		"-c", "-x", "c", "-o", object, "-include", path, "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("compile %s with %s: %w\n%s", header, cc, err, out)
	}
	return object, nil
}

func newStructure(t *dwarf.StructType) (structure, error) {
	s := structure{name: strings.TrimPrefix(t.StructName, "abi_"), size: t.ByteSize}
	for _, f := range t.Field {
		goType, err := goTypeOf(f.Type)
		if err != nil {
			return s, fmt.Errorf("struct %s, field %s: %w", t.StructName, f.Name, err)
		}
		s.fields = append(s.fields, field{name: f.Name, goType: goType, offset: f.ByteOffset, size: f.Type.Size()})
	}
	return s, nil
}

// goTypeOf maps the types that the header uses; any other is refused, since a
// contract should hold nothing but fixed-width integers.
func goTypeOf(t dwarf.Type) (string, error) {
	switch t := t.(type) {
	case *dwarf.TypedefType:
		return goTypeOf(t.Type)
	case *dwarf.QualType:
		return goTypeOf(t.Type)
	case *dwarf.UintType, *dwarf.UcharType:
		return fmt.Sprintf("uint%d", t.Size()*8), nil
	case *dwarf.IntType, *dwarf.CharType:
		return fmt.Sprintf("int%d", t.Size()*8), nil
	case *dwarf.ArrayType:
		elem, err := goTypeOf(t.Type)
		return fmt.Sprintf("[%d]%s", t.Count, elem), err
	case *dwarf.StructType:
		if !strings.HasPrefix(t.StructName, "abi_") {
			return "", fmt.Errorf("struct %s is not part of the contract", t.StructName)
		}
		return goName(strings.TrimPrefix(t.StructName, "abi_")), nil
	}
	return "", fmt.Errorf("type %s is not a fixed-width integer, an array or a struct abi_*", t)
}
