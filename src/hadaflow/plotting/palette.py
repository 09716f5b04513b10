"""Colours that stay apart in grey print and for colour-blind eyes; shapes tell curves apart as well."""

BLUE, ORANGE, GREY = "#0b5394", "#e08214", "#8c8c8c"
SHADE = "#dfe9f3"
