"""Small expressions over values that are none, undefined, empty or plain, and what Python's Jinja2 prints for each."""

import json

VALUES = ["none", "nowhere", "m.nowhere", "m['nowhere']", "''", "[]", "{}", "false", "0", "'aB c'", "[3, 1]", "m", "1.5", "true"]

TESTS = """
defined undefined none boolean false true integer float number string mapping sequence iterable callable
lower upper odd even sameas(none) sameas(false) eq(none) eq('') eq(0) ne(none) in([]) in([none,''])  lt(1) gt(0) le(0) ge(0)
filter test escaped divisibleby(2)
""".split()

FILTERS = """
abs attr('a') batch(2)|list capitalize center(7) count d('x') default('x') default('x',true) dictsort e escape
filesizeformat first float float(2.5) forceescape format(1) groupby('a')|list indent indent(2,true) int int(7) items|list
join join(',') last length list lower map('upper')|list map(attribute='a')|list max min pprint random|string|length
reject|list reject('none')|list rejectattr('a')|list replace('a','b') reverse|list round
safe select|list select('string')|list selectattr('a')|list selectattr('a','defined')|list slice(2)|list sort
sort(reverse=true) string striptags sum title tojson trim truncate(2) truncate(3,true,'~',0) unique|list upper urlencode
wordcount wordwrap(3) xmlattr
""".split()

SHAPES = [
    "{{ %s }}", "{{ %s or 'x' }}", "{{ %s and 'x' }}", "{{ not %s }}", "{% if %s %}a{% else %}b{% endif %}",
    "{% for x in %s %}{{ x }},{% else %}e{% endfor %}", "{{ %s == none }}", "{{ %s == '' }}", "{{ %s == false }}",
    "{{ %s is none or %s | length == 0 }}", "{{ %s is iterable and %s is not string }}", "{{ 'a' in %s }}", "{{ %s ~ 'x' }}",
    "{{ 'x' ~ %s }}", "{{ %s + 'x' }}", "{{ 'x' + %s }}", "{{ %s + [1] }}", "{{ %s + 1 }}", "{{ %s * 2 }}", "{{ %s[0] }}", "{{ %s[1:] }}",
    "{{ %s[-1] }}", "{{ %s[:-1] }}", "{{ %s.a }}", "{{ %s['a'] }}", "{{ %s.a.b }}", "{{ %s > 0 }}", "{{ %s < 'b' }}",
    "{{ %s if %s is defined }}", "{% set x = %s %}[{{ x }}]", "{{ (%s)|string }}", "{{ [%s] }}", "{{ {'k': %s} }}",
    "{{ [%s] | tojson }}", "{{ %s == %s }}", "{{ %s is eq(%s) }}", "{{ -%s }}", "{{ %s % 2 }}", "{{ namespace(v=%s).v }}",
    "{{ dict(v=%s) }}", "{{ range(%s) | list }}", "{% with x = %s %}{{ x }}{% endwith %}",
]

METHODS = [
    "strip()", "upper()", "split()", "startswith('a')", "endswith(('c',))", "get('a')", "get('q', 1)", "items()", "keys()", "values()", "count('a')",
    "index('B')", "zfill(6)", "join(['x','y'])", "replace('a','b')",
]

# Each once, as it stands.
SINGLE = r"""
{{ "abc".index("b") }}
{{ "abc".index("x") }}
{{ "abcb".rindex("b") }}
{{ "abcb".rfind("b") }}{{ "abcb".find("b", 2) }}{{ "abc".find("x") }}
{{ [1, 2, 1].index(2) }}{{ [1, 2, 1].count(1) }}
{{ "a\tb".expandtabs() }}|{{ "a\tb".expandtabs(4) }}
{{ "ab".zfill(4) }}{{ "-5".zfill(4) }}{{ "abc".zfill(2) }}
{{ "ab".center(5) }}|{{ "ab".center(6, "*") }}|{{ "ab".ljust(4) }}|{{ "ab".rjust(4, ".") }}
{{ "aBc".swapcase() }}{{ "aBc".casefold() }}{{ "hello wORLD".capitalize() }}{{ "hello wORLD".title() }}
{{ "a-b_c".replace("-", "").replace("_", "") }}
{{ "abc".isalpha() }}{{ "12".isdigit() }}{{ "a1".isalnum() }}{{ " ".isspace() }}{{ "Ab".istitle() }}{{ "ab".isidentifier() }}{{ "12".isdecimal() }}
{{ "12".isnumeric() }}{{ "ab".isascii() }}{{ "a\n".isprintable() }}{{ "".isalpha() }}{{ "AB".isupper() }}{{ "1".islower() }}
{{ "a,b,c".partition(",") }}{{ "a,b,c".rpartition(",") }}
{{ "a b  c".split() }}{{ "a b  c".split(" ") }}{{ "a,b,c".split(",", 1) }}{{ "a,b,c".rsplit(",", 1) }}{{ " a b c ".rsplit(none, 1) }}
{{ "a\nb\r\nc".splitlines() }}{{ "a\nb".splitlines(true) }}
{{ "xxaxx".strip("x") }}|{{ "xxaxx".lstrip("x") }}|{{ "xxaxx".rstrip("x") }}|{{ "  a ".strip() }}
{{ "{} {}".format(1, "b") }}{{ "{0}{1}{0}".format("a", "b") }}{{ "{x}".format(x=1) }}
{{ "abc".startswith("b", 1) }}{{ "abc".startswith(("x", "a")) }}{{ "abc".endswith("c") }}
{{ "abcabc".count("a") }}{{ "abc"[::-1] }}{{ "abc"[1] }}{{ "abc"[-1] }}{{ "abc"[5:] }}
{{ "%s-%s" % ("a", "b") }}
{{ "%.2f" % 1.234 }}
{{ "%d%%" % 5 }}
{{ "%s" % none }}{{ "%s" % "x" }}{{ "%5d|%-5d|%05d" % (1, 2, 3) }}{{ "%x" % 255 }}
{{ "%s" % m.a }}{{ "%s" % [1, 2] }}{{ ("%s" % "a") | upper }}
{{ "%(a)s" % m }}
{{ "%r %r" % ("a", 1) }}
{{ "%s and %s" | format("a", "b") }}
{{ "a b" | urlencode }}{{ "/a?b=c&d" | urlencode }}{{ {"a": 1, "b": "x y"} | urlencode }}
{{ "a" | center(5) }}|{{ "a" | center(4) }}
{{ "a bc  d" | wordcount }}{{ "" | wordcount }}
{{ "hello world foo" | truncate(9) }}|{{ "hello world foo" | truncate(9, true) }}|{{ "hello" | truncate(5) }}|{{ "hello world" | truncate(8, false, "..", 0) }}
{{ "<b>x</b> &amp; <!-- c --> y" | striptags }}
{{ {"a": 1, "b": none, "c": "<"} | xmlattr }}
{{ {} | xmlattr }}
{{ "<a href='x'>\"&" | escape }}{{ "<" | e }}{{ 5 | e }}{{ "<" | forceescape }}
{{ "a b c d e f" | wordwrap(3) }}
{{ [1] | random }}
{{ 1000 | filesizeformat }}
{{ none is callable }}{{ nowhere is callable }}{{ range is callable }}{{ "".upper is callable }}{{ m is callable }}
{% macro f(x) %}{{ x }}{% endmacro %}{{ f is callable }}{{ f(1) }}{{ f.name }}
{% macro f(x) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, z=3) }}
{% macro f(x) %}{{ x }}{{ kwargs }}{% endmacro %}{{ f(1) }}
{% macro f(x) %}{{ x }}{% for v in varargs %}[{{ v }}]{% endfor %}{% endmacro %}{{ f(1, "a", "b") }}
{% macro f(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ f(1) }}{{ f(1, y=3) }}{{ f(x=1) }}
{% macro f() %}{{ caller("a") }}{% endmacro %}{% call(x) f() %}<{{ x }}>{% endcall %}
{{ 1e20 }} {{ 1.0 }} {{ 1e-7 }} {{ 123456789.123 }} {{ 0.1 + 0.2 }} {{ 1e16 }}
{{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }} {{ 4 / 2 }} {{ 2 ** -1 }}
{{ [1, 2] + [3] }} {{ (1, 2) + (3,) }} {{ "ab" * 2 }} {{ [0] * 3 }} {{ [1] == [1] }} {{ (1,) }} {{ () }}
{{ {"a": 1, 2: "b", true: none} }}
{{ ["a", 'b"c', "d'e", "f\n"] }}
{{ "é😀" }}{{ ["é😀"] }}
{{ true + 1 }}{{ true == 1 }}{{ 1 == 1.0 }}{{ "1" == 1 }}
{{ 1 is number }}{{ true is number }}{{ "a" is string }}{{ true is boolean }}{{ 1 is integer }}{{ true is integer }}{{ 1.0 is float }}
{{ [1] is sequence }}{{ m is sequence }}{{ m is mapping }}{{ "a" is iterable }}{{ 1 is iterable }}{{ range(3) is iterable }}{{ m.items() is iterable }}
{{ 3 is divisibleby 3 }}{{ 3 is odd }}{{ 2 is even }}{{ 1 is in [1, 2] }}{{ "A" is upper }}{{ "a" is lower }}
{{ "upper" is filter }}{{ "nope" is filter }}{{ "defined" is test }}{{ "nope" is test }}
{{ [3, 1, 2] | sort }}{{ ["b", "A"] | sort }}{{ [3, 1] | sort(reverse=true) }}{{ ["b", "A"] | sort(case_sensitive=true) }}
{{ [{"a": 2}, {"a": 1}] | sort(attribute="a") }}{{ [{"a": 2}, {"a": 1}] | map(attribute="a") | list }}
{{ [{"a": 1}, {"b": 1}] | map(attribute="a", default="d") | list }}{{ [{"a": 1}, {"b": 1}] | selectattr("a", "defined") | list }}
{{ [1, 2, 3, 4] | batch(3, "x") | list }}{{ [1, 2, 3] | slice(2) | list }}{{ [1, 1, 2] | unique | list }}
{{ [1, 2] | sum }}{{ [{"a": 1}] | sum(attribute="a") }}{{ [1, 2] | sum(start=5) }}{{ [[1], [2]] | sum(start=[]) }}
{{ [1, 2, 3] | min }}{{ [1, 2, 3] | max }}{{ [] | first }}{{ [] | last }}{{ "abc" | first }}{{ "abc" | last }}
{{ [1, none, 2] | reject("none") | list }}{{ [1, 2, 3] | select("gt", 1) | list }}{{ [1, 2] | reject("equalto", 1) | list }}
{{ "abc" | list }}{{ m | list }}{{ "abc" | reverse }}{{ [1, 2] | reverse | list }}
{{ 3.7 | int }}{{ "3" | int }}{{ "x" | int }}{{ "3.5" | float }}{{ "0x1f" | int(0, 16) }}{{ 2.5 | round }}{{ 2.567 | round(2) }}{{ 2.1 | round(0, "ceil") }}
{{ "a\nb\n\nc" | indent }}|{{ "a\nb" | indent(2, true) }}|{{ "a\n\nb" | indent(2, blank=true) }}|{{ "a\nb" | indent("--") }}|{{ "a\nb" | indent(width=1, first=true) }}
{{ {"b": 1, "a": 2} | dictsort }}{{ {"b": 1, "a": 2} | dictsort(false, "value") }}{{ m | items | list }}{{ m.items() | list }}
{{ [{"a": 1, "b": 2}, {"a": 1, "b": 3}] | groupby("a") | list }}
{% for g, l in [{"a": 1, "b": 2}] | groupby("a") %}{{ g }}{{ l }}{% endfor %}
{{ "a" | default("b") }}{{ nowhere | default("b") }}{{ "" | default("b", true) }}{{ nowhere | default }}
{{ [1, [2, {"a": none}]] | tojson }}{{ "é</b>'" | tojson }}{{ {"a": 1} | tojson(indent=2) }}
{{ "  a b " | trim }}|{{ "xax" | trim("x") }}
{{ "hello world" | title }}{{ "hello-world foo's" | title }}{{ "HELLO" | capitalize }}
{{ "a,b" | replace(",", ";") }}{{ "aaa" | replace("a", "b", 2) }}
{{ [1, 2, 3] | join }}{{ [1, 2] | join("-") }}{{ [{"a": 1}] | join(",", attribute="a") }}{{ "abc" | join("-") }}
{{ m.a }}{{ m["a"] }}{{ m.get("a") }}{{ m.get("zz") }}{{ m.get("zz", 1) }}{{ m | length }}{{ "a" in m }}{{ m.keys() | list }}{{ m.values() | list }}
{{ m | attr("a") }}{{ m | attr("keys") is callable }}
{{ loop is defined }}{{ self is defined }}{{ lipsum is defined }}{{ cycler is defined }}{{ joiner is defined }}{{ range is defined }}{{ dict is defined }}{{ namespace is defined }}
{% set c = cycler("a", "b") %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{% set j = joiner(",") %}{{ j() }}a{{ j() }}b
{% for x in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle("a", "b") }}{{ loop.depth }};{% endfor %}
{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}
{% for x in [1, 2, 3] if x > 1 %}{{ x }}{{ loop.index }}{% else %}e{% endfor %}
{% for k, v in m.items() %}{{ k }}{{ v }}{% endfor %}{% for k in m %}{{ k }}{% endfor %}
{% for x in [[1, [2]], [3, [4]]] recursive %}{{ x[0] if x is sequence else x }}{% endfor %}
{% set ns = namespace(a=1) %}{% for x in [1, 2] %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}{{ ns.b }}
{% set x %}a{{ 1 }}b{% endset %}{{ x }}{{ x | length }}{{ x is string }}
{% set x | upper %}ab{% endset %}{{ x }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = [3, 4] %}{{ c }}{{ d }}
{% filter upper %}ab{{ 1 }}{% endfilter %}
{% raw %}{{ x }}{% endraw %}
{% if false %}a{% elif true %}b{% else %}c{% endif %}
{{ "a" if true }}{{ "a" if false }}{{ ("a" if false) is defined }}{{ "a" if false else "b" }}
{{ not none }}{{ not 0 }}{{ 1 and 2 }}{{ 0 or "x" }}{{ none or none }}{{ 1 in [1] and 2 not in [1] }}
{{ 1 < 2 < 3 }}{{ 3 > 2 > 2 }}{{ 1 == 1 == 1 }}
{{ "a" "b" }}{{ 'a' 'b' ~ 'c' }}
{{ [1, 2, 3][1:] }}{{ [1, 2, 3][::-1] }}{{ [1, 2, 3][:2] }}{{ (1, 2, 3)[1:] }}{{ [][::-1] }}{{ ""[::-1] }}
{{ [1, 2, 3][-1] }}{{ [1][5] }}{{ [1][5] is defined }}
{{ range(3) | list }}{{ range(1, 6, 2) | list }}{{ range(3)[1] }}{{ range(3) | length }}{{ range(0) | list }}{{ range(3, 0, -1) | list }}
{{ "\u00e9\x41" }}{{ "\n" | length }}{{ "\\n" }}{{ '\'' }}
{{ 1_000 }}{{ 0x1f }}{{ 0b11 }}{{ 0o17 }}{{ 1.5e3 }}
{{ "abc" | upper | lower | title | length }}
{{ m.a is defined and m.a }}{{ m.b is defined and m.b }}
{{ [none, 1, "a"] | map("string") | join(",") }}{{ ["a", "b"] | map("upper") | join }}{{ ["1", "2"] | map("int") | sum }}
{{ [1, 2] is eq([1, 2]) }}{{ m == {"a": 1} }}{{ none is sameas(none) }}
{{ ["a", "b"] | last }}{{ [["a", 1]] | first | first }}
{{ "x" in "xyz" }}{{ "" in "xyz" }}{{ 1 in {1: 2} }}{{ none in [none] }}
{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}x{% endmacro %}{{ a() }}
{{ m.items() | list | length }}{{ m.items() | map("first") | list }}{{ m | dictsort | first }}
{{ {"a": {"b": [1, {"c": "d"}]}}.a.b[1].c }}{{ {"a": 1}.update }}
{{ [1, 2, 3] | select("odd") | list }}{{ [1, 2, 3] | reject("odd") | list }}{{ ["a", ""] | select | list }}
{{ (1, 2) is sequence }}{{ (1, 2) is iterable }}{{ (1, 2) | list }}{{ (1, 2) | tojson }}{{ (1, 2) == [1, 2] }}
{{ 10 | string ~ "a" }}{{ 10 ~ none ~ true ~ 1.0 }}
{{ "%s" | format(nowhere) }}{{ [nowhere] }}{{ nowhere ~ "a" }}
{{ nowhere == nowhere }}{{ nowhere == none }}{{ nowhere != "" }}{{ nowhere in [none] }}
{{ nowhere | list }}{{ nowhere | join }}{{ nowhere | upper }}{{ nowhere | trim }}{{ nowhere | string }}{{ nowhere | default([]) | length }}
{% for k, v in nowhere | items %}{{ k }}{% else %}e{% endfor %}{% for k, v in {} | items %}{{ k }}{% else %}e{% endfor %}
{{ none | default("x") }}{{ none | default("x", true) }}{{ none | string }}{{ none | upper }}{{ none | tojson }}{{ none | trim }}
{{ true | int }}{{ true | string }}{{ true | tojson }}{{ false | lower }}{{ true | upper }}
{{ "a" < "b" }}{{ [1] < [2] }}{{ 1 < 1.5 }}{{ "a" <= "a" }}
{{ "line1\nline2" | replace("\n", " ") }}{{ "a  b" | replace("  ", " ") }}
"""


def expressions():
    for value in VALUES:
        yield from (f"{{{{ {value} is {test} }}}}{{{{ {value} is not {test} }}}}" for test in TESTS)
        yield from (f"{{{{ {value} | {name} }}}}" for name in FILTERS)
        yield from (f"{{{{ {value}.{method} }}}}" for method in METHODS)
        yield from (shape.replace("%s", value) for shape in SHAPES)
    yield from (line for line in SINGLE.splitlines() if line)


def write(path):
    from transformers.utils.chat_template_utils import _compile_jinja_template

    rows = []
    for source in dict.fromkeys(expressions()):
        try:
            rows.append([source, _compile_jinja_template(source).render(m={"a": 1})])
        except Exception:
            rows.append([source, None])
    path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    refused = sum(text is None for _, text in rows)
    print(f"{len(rows)} expressions, of which Python refuses {refused}, in {path}")
