package console_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/redishook/multidb/console"
	"github.com/redishook/multidb/multidbtest"
)

// The page of a hook, on the port for debugging. Buttons are for those whom a proxy in front of it has logged in.
func Example() {
	pair, err := multidbtest.Open(multidbtest.Config{}) // yours has a hook already
	if err != nil {
		log.Fatal(err)
	}
	defer pair.Close()

	page := console.New(pair.Hook, console.Options{
		Authorize: func(r *http.Request) (user string, err error) {
			if user = r.Header.Get("X-Forwarded-User"); user == "" {
				return "", errors.New("not logged in")
			}
			return user, nil
		},
	})
	defer page.Close()
	mux := http.NewServeMux()
	mux.Handle("/debug/multidb/", page)

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest("GET", "/debug/multidb/?format=json", nil))
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	// Output: 200 application/json
}
