"""The page's files as they are sent: types, tags, policy; and that every text has both languages."""

import re
from importlib.resources import files

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

PAGE = files("m3e_serve.page")
NAMES = sorted(file.name for file in PAGE.iterdir() if file.name.endswith((".html", ".css", ".js")))
NAMED = [name for name in NAMES if name != "index.html"]
TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


def source(name):
    return PAGE.joinpath(name).read_text(encoding="utf-8")


def text_table():
    """The rows of texts.js: a key, an English text, a Chinese text."""
    row = r'^  (\w+): \[\s*((?:"[^"]*"|[+\s])+),\s*((?:"[^"]*"|[+\s])+?),?\s*\],$'
    found = re.findall(row, source("texts.js"), re.MULTILINE)
    assert len(found) == len(re.findall(r"^  \w+: \[", source("texts.js"), re.MULTILINE))
    return {key: (english, chinese) for key, english, chinese in found}


@pytest.mark.parametrize("name", NAMED)
def test_a_file_has_its_type_and_is_kept_by_browsers(http, name):
    answer = http.get(f"/page/{name}")
    assert answer.text == source(name)
    assert answer.headers["content-type"] == TYPES[name.rpartition(".")[2]]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/page/style.css"])
def test_a_browser_that_has_the_file_is_told_so(http, path):
    tag = http.get(path).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = http.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
    assert http.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_another_request_on_the_same_connection_follows_a_304(http):
    tag = http.get("/").headers["etag"]
    assert http.get("/", headers={"if-none-match": tag}).status_code == 304
    assert http.get("/").status_code == 200


@pytest.mark.parametrize("name", ["index.html", "__init__.py", "none.js", "..%2fapp.py", "%2e%2e%2fapp.py"])
def test_nothing_else_is_under_the_path(http, name):
    assert http.get(f"/page/{name}").status_code == 404


def test_the_policy_allows_this_service_and_the_pages_one_inline_script(http):
    answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r'\sstyle="|\son\w+="', answer.text)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_a_path_from_the_root_or_another_host(name):
    text = source(name).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\(|[\"'`]//", text)
    assert not re.search(r"""(fetch|ask|look|import|from|URL)\s*\(?["'`]/|(href|src)="/""", text)


def test_every_import_is_a_file_beside():
    for name in NAMED:
        for imported in re.findall(r'from "\./([^"]+)"', source(name)):
            assert imported in NAMES, f"{name} imports {imported}"


def test_every_text_is_there_in_both_languages():
    table = text_table()
    assert len(table) > 40
    for key, (english, chinese) in table.items():
        placeholders = [sorted(re.findall(r"\{\w+\}", text)) for text in (english, chinese)]
        assert placeholders[0] == placeholders[1], key
        assert not re.search(r"[一-鿿]", english), key
        untranslated = key in ("p50", "p95", "p99", "tokens", "baseUrl")
        assert untranslated or re.search(r"[一-鿿]", chinese), key


def test_every_text_that_is_used_exists_and_every_text_is_used():
    code = "".join(source(name) for name in NAMES if name != "texts.js")
    marked = re.findall(r'data-(?:text|label)="(\w+)"', code)
    asked = re.findall(r'\btext\("(\w+)"', code)
    assert set(marked + asked) <= set(text_table())
    unused = {key for key in text_table() if not re.search(rf'"{key}"|\.{key}\b', code)}
    assert not unused
