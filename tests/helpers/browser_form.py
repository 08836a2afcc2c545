"""The form on the API's first page, read and sent as browsers do."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The controls of a form: name → value, as a browser fills them in; and the text."""

    def __init__(self, html):
        super().__init__()
        self.controls, self.words, self.tags, self._open = {}, [], set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.add(tag)
        if tag == "input":
            self.controls[named["name"]] = named["value"].replace("\n", "").replace("\r", "")
        elif tag == "textarea":
            self._open = named["name"]

    def handle_data(self, data):
        self.words.append(data)
        if self._open:
            self.controls[self._open] = data.removeprefix("\n").replace("\n", "\r\n")

    def handle_endtag(self, tag):
        self._open = self._open if tag != "textarea" else ""


def as_browsers_send(controls):
    """The body and its content type. https://html.spec.whatwg.org/#multipart-form-data: what is not escaped is sent as it is."""
    text = "".join(
        '--q\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'.format(
            name.replace("\n", "%0D%0A").replace('"', "%22"), value
        )
        for name, value in controls.items()
    )
    return f"{text}--q--\r\n".encode(), "multipart/form-data; boundary=q"
