// Package optioncheck says what is wrong with options: with their words, and with what a client of go-redis cannot be made of.
package optioncheck

import (
	"errors"
	"fmt"
)

// Problems collects what is wrong, each problem with its field and what to change. The zero value has none.
type Problems struct{ errs []error }

// Wrong notes that a field must be something else. Every problem of an option is worded here.
func (p *Problems) Wrong(field string, value any, must string) { p.Add(Wrong(field, value, must)) }

// Wrong is the error of one field: "Field = value: must ...".
func Wrong(field string, value any, must string) error {
	return fmt.Errorf("%s = %v: %s", field, value, must)
}

// Of returns a complaint about the fields of one option.
func (p *Problems) Of(option string) Complaint {
	return func(field string, value any, must string) { p.Wrong(option+field, value, must) }
}

// Add notes a problem that was worded already; nil is none.
func (p *Problems) Add(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// Err is everything that is wrong, or nil.
func (p *Problems) Err() error { return errors.Join(p.errs...) }

// Complaint takes what is wrong with a field of a database: its name, its value, and what it must be.
type Complaint func(name string, value any, must string)

// unsaid stands for a value that may hold a password. A URL whose password has a character that must be escaped is split
// in the wrong places, so that any part of it may be a part of the password.
const unsaid = `"…"`

const mustHavePort = "must be host:port, with a port from 1 to 65535"

// Prefixed puts the name of the field before each line of a joined error.
func Prefixed(field string, err error) error {
	var all []error
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			all = append(all, fmt.Errorf("%s%w", field, e))
		}
		return errors.Join(all...)
	}
	return fmt.Errorf("%s%w", field, err)
}
