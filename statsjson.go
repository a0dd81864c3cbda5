package multidb

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// MarshalJSON writes names in snake_case, errors as their text, and durations in seconds under a name that says so. An error
// that is nil is left out.
func (s Stats) MarshalJSON() ([]byte, error) { return marshalFields(reflect.ValueOf(s)) }

// MarshalJSON is like that of [Stats].
func (s DatabaseStats) MarshalJSON() ([]byte, error) { return marshalFields(reflect.ValueOf(s)) }

// marshalFields writes a struct of statistics, whatever fields it has. encoding/json writes an error as {}.
func marshalFields(v reflect.Value) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name, value := snakeCase(field.Name), v.Field(i).Interface()
		switch field.Type {
		case reflect.TypeFor[error]():
			err, _ := value.(error)
			if err == nil {
				continue
			}
			value = err.Error()
		case reflect.TypeFor[time.Duration]():
			name, value = name+"_seconds", value.(time.Duration).Seconds()
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + name + `":`)
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// snakeCase writes GateError as gate_error, and DB as db.
func snakeCase(name string) string {
	var b strings.Builder
	small := false
	for _, r := range name {
		if small && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		small = unicode.IsLower(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
