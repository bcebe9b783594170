package points

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
)

// LongestExpression is the maximum length of an expression in bytes.
const LongestExpression = 1000

// Expression computes a point from others.
type Expression struct {
	Names []string // of the points used, in the order of their first use
	root  node
	flag  bool
}

// node is a part of an expression. Flags are represented by 0 and 1.
type node struct {
	op     string // "number", "point", an operator or a function
	number float64
	index  int // of a point, in Names
	parts  []node
	flag   bool // its value is true or false
}

// ParseExpression parses an expression: numbers, true, false, names of points, + - * / %,
// comparisons, && || !, min and max of at least one number, abs(x), round(x) and round(x,
// decimals), cond(if, then, else). A point whose name is not an identifier is written in quotes,
// "power-l1" or `power-l1`. The function flag reports for each point whether it is true or false
// rather than a number; ok is false if there is no such point or it is text.
func ParseExpression(text string, flag func(point string) (flag, ok bool)) (*Expression, error) {
	if len(text) > LongestExpression {
		return nil, fmt.Errorf("an expression has at most %d characters, this one has %d", LongestExpression, len(text))
	}
	tree, err := parser.ParseExpr(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a valid expression: %w", text, err)
	}
	c := compiler{text: text, kind: flag, e: &Expression{}}
	if c.e.root, err = c.compile(tree); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	c.e.flag = c.e.root.flag
	return c.e, nil
}

type compiler struct {
	text string
	kind func(string) (flag, ok bool)
	e    *Expression
}

func (c *compiler) compile(tree ast.Expr) (node, error) {
	switch x := tree.(type) {
	case *ast.ParenExpr:
		return c.compile(x.X)
	case *ast.Ident:
		if x.Name == "true" || x.Name == "false" {
			n := node{op: "number", flag: true}
			if x.Name == "true" {
				n.number = 1
			}
			return n, nil
		}
		return c.point(x.Name)
	case *ast.BasicLit:
		return c.literal(x)
	case *ast.UnaryExpr:
		return c.unary(x)
	case *ast.BinaryExpr:
		return c.binary(x)
	case *ast.CallExpr:
		return c.call(x)
	}
	return node{}, fmt.Errorf("%q is not supported in expressions", c.source(tree))
}

// source returns the text of a part.
func (c *compiler) source(tree ast.Node) string {
	from, to := int(tree.Pos())-1, int(tree.End())-1
	if from < 0 || to > len(c.text) || from > to {
		return c.text
	}
	return c.text[from:to]
}

func (c *compiler) point(name string) (node, error) {
	flag, ok := c.kind(name)
	if !ok {
		return node{}, fmt.Errorf("there is no point %q for this expression", name)
	}
	i := slices.Index(c.e.Names, name)
	if i < 0 {
		i = len(c.e.Names)
		c.e.Names = append(c.e.Names, name)
	}
	return node{op: "point", index: i, flag: flag}, nil
}

func (c *compiler) literal(x *ast.BasicLit) (node, error) {
	switch x.Kind {
	case token.STRING:
		name, err := strconv.Unquote(x.Value)
		if err != nil {
			return node{}, fmt.Errorf("%s is not a name: %w", x.Value, err)
		}
		return c.point(name)
	case token.INT, token.FLOAT:
		f, err := strconv.ParseFloat(x.Value, 64)
		if i, whole := strconv.ParseUint(x.Value, 0, 64); whole == nil {
			f, err = float64(i), nil
		}
		if err != nil {
			return node{}, fmt.Errorf("%s is not a number", x.Value)
		}
		return node{op: "number", number: f}, nil
	}
	return node{}, fmt.Errorf("%s is neither a number nor a point", x.Value)
}

func (c *compiler) unary(x *ast.UnaryExpr) (node, error) {
	one, err := c.compile(x.X)
	if err != nil {
		return node{}, err
	}
	switch op := x.Op; {
	case op == token.NOT:
		return c.made("not", true, true, x, one)
	case op == token.SUB:
		return c.made("negative", false, false, x, one)
	case op == token.ADD:
		return c.made("plus", false, false, x, one)
	}
	return node{}, fmt.Errorf("%q is not supported in expressions", c.source(x))
}

func (c *compiler) binary(x *ast.BinaryExpr) (node, error) {
	left, err := c.compile(x.X)
	if err != nil {
		return node{}, err
	}
	right, err := c.compile(x.Y)
	if err != nil {
		return node{}, err
	}
	op := x.Op.String()
	switch x.Op {
	case token.ADD, token.SUB, token.MUL, token.QUO, token.REM:
		return c.made(op, false, false, x, left, right)
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		return c.made(op, false, true, x, left, right)
	case token.LAND, token.LOR:
		return c.made(op, true, true, x, left, right)
	case token.EQL, token.NEQ:
		return c.made(op, left.flag, true, x, left, right)
	}
	return node{}, fmt.Errorf("%q is not supported in expressions", op)
}

// made returns an operation whose parts must all be flags or all be numbers.
func (c *compiler) made(op string, wants, gives bool, tree ast.Node, parts ...node) (node, error) {
	for _, p := range parts {
		switch {
		case p.flag && !wants:
			return node{}, fmt.Errorf("%q uses true or false as a number", c.source(tree))
		case !p.flag && wants:
			return node{}, fmt.Errorf("%q uses a number as true or false", c.source(tree))
		}
	}
	return node{op: op, parts: parts, flag: gives}, nil
}

// arity is the minimum and the maximum number of arguments of a function; maximum 0: any number.
var arity = map[string][2]int{"min": {1, 0}, "max": {1, 0}, "abs": {1, 1}, "round": {1, 2}, "cond": {3, 3}}

func (c *compiler) call(x *ast.CallExpr) (node, error) {
	name, ok := x.Fun.(*ast.Ident)
	if !ok || x.Ellipsis.IsValid() {
		return node{}, fmt.Errorf("%q is not supported in expressions", c.source(x))
	}
	n, ok := arity[name.Name]
	switch {
	case !ok:
		return node{}, fmt.Errorf("unknown function %q: want abs, cond, max, min or round", name.Name)
	case len(x.Args) < n[0] || n[1] > 0 && len(x.Args) > n[1]:
		return node{}, fmt.Errorf("%q has the wrong number of arguments (%d)", c.source(x), len(x.Args))
	}
	parts := make([]node, len(x.Args))
	for i, arg := range x.Args {
		var err error
		if parts[i], err = c.compile(arg); err != nil {
			return node{}, err
		}
	}
	switch {
	case name.Name != "cond":
		return c.made(name.Name, false, false, x, parts...)
	case !parts[0].flag:
		return node{}, fmt.Errorf("%q uses a number as true or false", c.source(x.Args[0]))
	case parts[1].flag != parts[2].flag:
		return node{}, fmt.Errorf("%q must give a number in both cases, or true or false in both", c.source(x))
	}
	return node{op: "cond", parts: parts, flag: parts[1].flag}, nil
}
