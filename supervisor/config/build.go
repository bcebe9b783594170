package config

// part is one part of a dotted key.
type part struct {
	key  string
	line int
}

// builder adds expressions to a document and enforces TOML's rules on duplicates.
type builder struct {
	root    *value
	here    *value // the table that keys now belong to
	at      string // its dotted path
	problem func(line int, key, format string, args ...any)
}

// enter handles a header: [a.b] or [[a.b]].
func (b *builder) enter(parts []part, list bool) {
	t, at := b.root, ""
	b.here, b.at = newTable(inline, parts[0].line), ""
	if len(parts) > deepest {
		b.problem(parts[0].line, "", "tables are nested more than %d deep", deepest)
		return
	}
	for _, p := range parts[:len(parts)-1] {
		at = join(at, p.key)
		if t = b.step(t, p, at, implied); t == nil {
			return
		}
	}
	last := parts[len(parts)-1]
	at = join(at, last.key)
	if list {
		t = b.element(t, last, at)
	} else {
		t = b.table(t, last, at)
	}
	if t != nil {
		b.here, b.at = t, at
	}
}

// step goes from table t to the table that p names.
func (b *builder) step(t *value, p part, at string, create origin) *value {
	e, ok := t.get(p.key)
	if !ok {
		next := newTable(create, p.line)
		t.add(p.key, p.line, next)
		return next
	}
	switch {
	case e.val.form == tableForm && e.val.origin != inline && (create == implied || e.val.origin == byDots):
		return e.val
	case e.val.form == listForm && e.val.origin == byHeader && create == implied:
		return e.val.items[len(e.val.items)-1]
	case e.val.form == tableForm:
		b.problem(p.line, at, "the table of line %d is an inline table: add the key there", e.line)
	default:
		b.problem(p.line, at, "is %s in line %d and cannot be a table as well", e.val.what(), e.line)
	}
	return nil
}

// table handles the [a] at the end of a header. A duplicate is reported and then merged, so that
// the keys of both tables are checked.
func (b *builder) table(t *value, p part, at string) *value {
	e, ok := t.get(p.key)
	switch {
	case !ok:
		next := newTable(byHeader, p.line)
		t.add(p.key, p.line, next)
		return next
	case e.val.form == tableForm && e.val.origin == implied:
		e.val.origin, e.val.line = byHeader, p.line
		return e.val
	case e.val.form == tableForm:
		b.problem(p.line, at, "the table is defined twice, first in line %d", e.val.line)
		if e.val.origin != inline {
			return e.val
		}
	default:
		b.problem(p.line, at, "is %s in line %d and cannot be a table as well", e.val.what(), e.line)
	}
	return nil
}

// element handles the [[a]] at the end of a header.
func (b *builder) element(t *value, p part, at string) *value {
	e, ok := t.get(p.key)
	if !ok {
		e.val = &value{form: listForm, origin: byHeader, line: p.line}
		t.add(p.key, p.line, e.val)
	}
	if e.val.form != listForm || e.val.origin != byHeader {
		b.problem(p.line, at, "is %s in line %d and cannot be a list of tables as well", e.val.what(), e.line)
		return nil
	}
	next := newTable(byHeader, p.line)
	e.val.items = append(e.val.items, next)
	return next
}

// set handles a.b = value within table t.
func (b *builder) set(t *value, at string, parts []part, v *value) {
	if len(parts) > deepest {
		b.problem(parts[0].line, at, "tables are nested more than %d deep", deepest)
		return
	}
	for _, p := range parts[:len(parts)-1] {
		at = join(at, p.key)
		if t = b.step(t, p, at, byDots); t == nil {
			return
		}
	}
	last := parts[len(parts)-1]
	if e, twice := t.get(last.key); twice {
		b.problem(last.line, join(at, last.key), "is defined twice, first in line %d", e.line)
		return
	}
	t.add(last.key, last.line, v)
}
