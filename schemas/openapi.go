package schemas

import (
	"cmp"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Operation is a method of the actor at Path.
type Operation struct {
	Path   string
	Method protoreflect.MethodDescriptor
}

const (
	componentRefs = "#/components/schemas/"
	errorName     = "Error"
)

// errorSchema returns the schema of the answer to a failed call.
func errorSchema() object {
	return object{
		"type": "object", "description": "The error of a failed call.", "required": []string{"code", "message"},
		"properties": object{
			"code":    object{"type": "string", "description": "An error code of Connect and gRPC, such as \"not_found\"."},
			"message": object{"type": "string", "description": "A message for people."},
			"details": object{
				"type": "array", "description": "Details for programs, as messages of the given types.",
				"items": object{
					"type": "object", "required": []string{"type", "value"},
					"properties": object{
						"type":  object{"type": "string", "description": "Full name of the message, like \"actor.v1.Violation\"."},
						"value": object{"type": "string", "contentEncoding": "base64", "description": "The message as protobuf, without padding."},
						"debug": object{"type": "object", "description": "The same as JSON."},
					},
				},
			},
		},
	}
}

// OpenAPI returns the OpenAPI 3.1 description of methods at the HTTP door: POST
// /cmd/<path>/<Method>, JSON in and out. A method with a stream of answers returns Server-Sent
// Events.
func OpenAPI(title, version string, all []Operation) ([]byte, error) {
	w := schemaWriter{defs: object{}, refs: componentRefs}
	w.defs[errorName] = errorSchema()
	paths, tags, tagged := object{}, []object{}, map[string]bool{}
	for _, o := range all {
		paths["/cmd/"+o.Path+"/"+string(o.Method.Name())] = object{"post": w.operation(o)}
		if !tagged[o.Path] {
			tagged[o.Path] = true
			tags = append(tags, object{"name": o.Path})
		}
	}
	return json.Marshal(object{
		"openapi":  "3.1.0",
		"info":     object{"title": title, "version": version},
		"servers":  []object{{"url": "/"}},
		"tags":     tags,
		"paths":    paths,
		"security": []object{{}, {"password": []string{}}, {"token": []string{}}, {"certificate": []string{}}},
		"components": object{
			"schemas": w.defs,
			"securitySchemes": object{
				"password":    object{"type": "http", "scheme": "basic"},
				"token":       object{"type": "http", "scheme": "bearer"},
				"certificate": object{"type": "mutualTLS"},
			},
		},
	})
}

func (w *schemaWriter) operation(o Operation) object {
	doc, name := Doc(string(o.Method.FullName())), string(o.Method.Name())
	answer := "application/json"
	if o.Method.IsStreamingServer() {
		answer = "text/event-stream"
	}
	op := object{
		"operationId": strings.ReplaceAll(o.Path, "/", ".") + "." + name, "tags": []string{o.Path}, "summary": doc,
		"requestBody": object{"required": true, "content": object{"application/json": object{"schema": w.component(o.Method.Input())}}},
		"responses": object{
			"200":     object{"description": "The answer.", "content": object{answer: object{"schema": w.component(o.Method.Output())}}},
			"default": object{"description": "The call failed.", "content": object{"application/json": object{"schema": object{"$ref": componentRefs + errorName}}}},
		},
	}
	return op
}

// component returns a reference to a message, which is written once.
func (w *schemaWriter) component(md protoreflect.MessageDescriptor) object {
	return object{"$ref": w.define(md)}
}

// define writes a message, once, and returns how to refer to it.
func (w *schemaWriter) define(md protoreflect.MessageDescriptor) (ref string) {
	name := string(md.FullName())
	if _, done := w.defs[name]; !done {
		w.defs[name] = true // in case the message contains itself
		w.defs[name] = w.message(md)
	}
	return cmp.Or(w.refs, "#/$defs/") + name
}
