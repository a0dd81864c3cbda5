package multidb

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/redishook/multidb/internal/optioncheck"
)

// ParseOptions reads databases from one connection string. It is URLs as redis.ParseURL reads them, separated by
// commas. Each may have a name and a weight.
//
//	multidb.ParseOptions("redis://east:6379/0?name=east&weight=1,rediss://user:secret@west:6380?name=west&weight=0.5")
//
// The name is host:port if it is not given, or the path of a socket. The weight is 1. A comma within a password is written as
// %2C. The errors name the number of the URL, counted from 0, and never quote a URL, which may hold a password. What ParseOptions
// returns may be changed before New, which checks the rest.
func ParseOptions(connection string) (Options, error) {
	var opt Options
	var errs []error
	for i, text := range strings.Split(connection, ",") {
		db, err := parseDatabase(strings.TrimSpace(text))
		if err != nil {
			errs = append(errs, optioncheck.Prefixed(fmt.Sprintf("Databases[%d]", i), err))
			continue
		}
		opt.Databases = append(opt.Databases, db)
	}
	if len(errs) > 0 {
		return Options{}, fmt.Errorf("multidb: ParseOptions: %w", errors.Join(errs...))
	}
	return opt, nil
}

func parseDatabase(text string) (Database, error) {
	if text == "" {
		return Database{}, errors.New(".URL = \"\": must not be empty")
	}
	var errs []error
	wrong := func(name string, value any, must string) {
		errs = append(errs, fmt.Errorf("%s = %v: %s", name, value, must))
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" {
		optioncheck.URL(text, wrong) // says it without the password
		return Database{}, errors.Join(errs...)
	}
	query := u.Query()
	db := Database{Name: query.Get("name")}
	if db.Name == "" {
		db.Name = placeOf(u)
	}
	if given := query.Get("weight"); given != "" {
		if db.Weight, err = strconv.ParseFloat(given, 64); err == nil {
			err = validWeight(db.Weight)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf(".Weight = %q: must be a finite number > 0", given))
		}
	}
	query.Del("name")
	query.Del("weight")
	u.RawQuery = query.Encode()
	db.URL = u.String()
	optioncheck.URL(db.URL, wrong)
	return db, errors.Join(errs...)
}

// placeOf names a database by where it is.
func placeOf(u *url.URL) string {
	if u.Scheme == "unix" {
		return u.Path
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	return u.Hostname() + ":" + port
}
