package chart

import _ "embed"

// Style is the style sheet of a file that stands alone.
//
//go:embed style.css
var Style string
