// Command docgen writes the comments of the schemas into a text file that package
// schemas embeds. It reads a descriptor set with source info:
//
//	buf build --as-file-descriptor-set --exclude-imports -o - | docgen docs.txt
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	// Files that the schemas import but the set leaves out.
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
)

func main() {
	if err := run(os.Stdin, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, args []string) error {
	if len(args) != 1 {
		return errors.New("want one argument: the file to write")
	}
	raw, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read descriptor set: %w", err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		return fmt.Errorf("read descriptor set: %w", err)
	}
	files, err := load(&set)
	if err != nil {
		return err
	}
	var docs []doc
	for _, fd := range files {
		docs = collect(docs, fd)
	}
	slices.SortFunc(docs, func(a, b doc) int { return cmp.Compare(a.name, b.name) })
	var out strings.Builder
	for _, d := range docs {
		fmt.Fprintf(&out, "%s\t%s\n", d.name, d.text)
	}
	return os.WriteFile(args[0], []byte(out.String()), 0o644)
}

// load links the set, whose imports may be linked into this program.
func load(set *descriptorpb.FileDescriptorSet) ([]protoreflect.FileDescriptor, error) {
	known := map[string]bool{}
	for _, f := range set.GetFile() {
		known[f.GetName()] = true
	}
	for _, f := range set.GetFile() {
		for _, name := range f.GetDependency() {
			if known[name] {
				continue
			}
			fd, err := protoregistry.GlobalFiles.FindFileByPath(name)
			if err != nil {
				return nil, fmt.Errorf("%s imports %s: %w", f.GetName(), name, err)
			}
			known[name] = true
			set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
		}
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("link descriptor set: %w", err)
	}
	var list []protoreflect.FileDescriptor
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		list = append(list, fd)
		return true
	})
	return list, nil
}

type doc struct {
	name protoreflect.FullName
	text string
}

func collect(docs []doc, fd protoreflect.FileDescriptor) []doc {
	add := func(d protoreflect.Descriptor) {
		comment := fd.SourceLocations().ByDescriptor(d).LeadingComments
		if text := strings.Join(strings.Fields(comment), " "); text != "" {
			docs = append(docs, doc{d.FullName(), text})
		}
	}
	var message func(protoreflect.MessageDescriptor)
	message = func(md protoreflect.MessageDescriptor) {
		add(md)
		for i := range md.Fields().Len() {
			add(md.Fields().Get(i))
		}
		for i := range md.Messages().Len() {
			message(md.Messages().Get(i))
		}
	}
	for i := range fd.Messages().Len() {
		message(fd.Messages().Get(i))
	}
	for i := range fd.Services().Len() {
		s := fd.Services().Get(i)
		add(s)
		for j := range s.Methods().Len() {
			add(s.Methods().Get(j))
		}
	}
	return docs
}
