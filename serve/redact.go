package serve

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/gomirror/gomirror/serve/redact"
)

// Redact takes every capability out of s.
func Redact(s string) string { return redact.Text(s) }

// RedactHandler returns a handler that redacts what it passes on to next.
func RedactHandler(next slog.Handler) slog.Handler { return redactor{next} }

type redactor struct{ next slog.Handler }

func (h redactor) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h redactor) Handle(ctx context.Context, record slog.Record) error {
	clean := slog.NewRecord(record.Time, record.Level, Redact(record.Message), record.PC)
	record.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redactAttr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactAttr(a)
	}
	return redactor{h.next.WithAttrs(clean)}
}

func (h redactor) WithGroup(name string) slog.Handler { return redactor{h.next.WithGroup(name)} }

// redactAttr redacts strings, and other values by how they would print.
func redactAttr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Redact(a.Value.String()))
	case slog.KindGroup:
		group := a.Value.Group()
		clean := make([]slog.Attr, len(group))
		for i, member := range group {
			clean[i] = redactAttr(member)
		}
		a.Value = slog.GroupValue(clean...)
	case slog.KindAny:
		printed := fmt.Sprintf("%+v", a.Value.Any())
		if clean := Redact(printed); clean != printed {
			a.Value = slog.StringValue(clean)
		}
	}
	return a
}
