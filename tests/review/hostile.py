"""Fifty texts that would do something if a page took them for more than text."""

SCRIPT = "window.broken=1"
TEXTS = [
    *(
        f"{before}{after}"
        for before in ("", '"><', "'></p>", "</textarea>", "</script>")
        for after in (
            f"<script>{SCRIPT}</script>",
            f"<img src=x onerror={SCRIPT}>",
            f"<svg/onload={SCRIPT}>",
            "<iframe srcdoc='<script>parent.broken=1</script>'>",
        )
    ),
    f"<a href='javascript:{SCRIPT}'>x</a>",
    f"javascript:{SCRIPT}",
    f"[x](javascript:{SCRIPT})",
    "<b>bold</b>",
    f"<body onload={SCRIPT}>",
    f"<details open ontoggle={SCRIPT}>",
    "<style>*{display:none}</style>",
    f"<math><mtext></mtext><script>{SCRIPT}</script></math>",
    "<form action=http://evil.example><button>",
    "<base href=//evil.example>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<!--",
    "-->",
    "]]>",
    "<![CDATA[",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "{{7*7}}",
    "${7*7}",
    "<%= 7 %>",
    "\u202eabc\u202c right to left",
    "\u2066\u2067\u2068isolates",
    "null\x00byte",
    "bell\x07 and \x1b[31mescape",
    "\ud800 broken \udfff",
    "\u0301" * 300 + "piled",
    "x" * 1_000_000,
    "line\n" * 2000,
    "\ufeffmark and \u200bzero width",
]
assert len(TEXTS) == 50, len(TEXTS)
