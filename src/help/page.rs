//! Turns a topic into a page for `man`: pulldown-cmark reads the Markdown, the `roff` crate writes the page.
//!
//! A page has no wide tables. Each row becomes a term and its description, which a terminal of any width can show.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

use super::Topic;

/// How far a list's or a code block's text stands to the right of the text around it.
const INDENT: &str = "4";

pub(super) fn render(topic: &Topic) -> String {
    let mut page = Page::default();
    let name = format!("berth-{}", topic.name);
    let version = concat!("berth ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name.as_str(), "7", "", version, "berth manual"]);
    // Names of keys and commands are not to be hyphenated.
    page.control("nr", ["HY", "0"]);
    page.control("nh", []);
    page.control("ad", ["l"]);
    page.control("SH", ["NAME"]);
    page.roff.text([roman(format!("{name} - {}", topic.about()))]);
    page.control("SH", ["DESCRIPTION"]);
    let text = topic.text();
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        page.take(event);
    }
    page.flush();
    page.roff.render()
}

#[derive(Default)]
struct Page {
    roff: Roff,
    /// The text that has no line of its own yet.
    text: Vec<Inline>,
    /// The next item's number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// An item's mark is written, and none of its text yet.
    in_item: bool,
    /// The elements around the text that change how it is written, the innermost last.
    within: Vec<Within>,
    head: Vec<String>,
    cells: Vec<Vec<Inline>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The page cannot show it, or has written something else in its place.
    Hidden,
    Strong,
    Emphasis,
    Code,
    Head,
    /// A link whose text stays.
    Link,
}

impl Page {
    fn take(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is(Within::Code) => self.code(&text),
            Event::Text(text) => self.say(&text),
            Event::Code(text) => self.push(bold(text.as_ref())),
            Event::SoftBreak => self.say(" "),
            Event::HardBreak => {
                self.flush();
                self.control("br", []);
            }
            // Comments are for programs that edit the file.
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag) {
        match tag {
            Tag::Heading { level: HeadingLevel::H1, .. } | Tag::Image { .. } => {
                self.within.push(Within::Hidden);
            }
            Tag::Heading { .. } => self.flush(),
            Tag::Paragraph => self.paragraph(),
            Tag::List(first) => {
                self.flush();
                if !self.lists.is_empty() {
                    self.control("RS", [INDENT]);
                }
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.flush();
                self.control("PP", []);
                self.control("RS", [INDENT]);
                self.control("EX", []);
                self.within.push(Within::Code);
            }
            Tag::Strong => self.within.push(Within::Strong),
            Tag::Emphasis => self.within.push(Within::Emphasis),
            Tag::Link { dest_url, .. } => {
                let topic = dest_url.strip_suffix(".md").and_then(Topic::find);
                if let Some(topic) = topic {
                    self.push(bold(format!("berth-{}", topic.name)));
                    self.push(roman("(7)"));
                }
                self.within.push(if topic.is_some() { Within::Hidden } else { Within::Link });
            }
            Tag::TableHead => {
                self.within.push(Within::Head);
                self.head.clear();
            }
            Tag::TableRow => self.cells.clear(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(HeadingLevel::H1)
            | TagEnd::Image
            | TagEnd::Strong
            | TagEnd::Emphasis
            | TagEnd::Link
            | TagEnd::TableHead => {
                self.within.pop();
            }
            TagEnd::Heading(level) => {
                let heading = plain(&std::mem::take(&mut self.text));
                self.control(if level == HeadingLevel::H2 { "SH" } else { "SS" }, [heading.as_str()]);
            }
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.control("RE", []);
                }
            }
            TagEnd::CodeBlock => {
                self.control("EE", []);
                self.control("RE", []);
                self.within.pop();
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.text);
                if self.is(Within::Head) { self.head.push(plain(&cell)) } else { self.cells.push(cell) }
            }
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    fn paragraph(&mut self) {
        self.flush();
        if std::mem::take(&mut self.in_item) {
            return;
        }
        if self.lists.is_empty() {
            self.control("PP", []);
        } else {
            self.control("IP", ["", INDENT]);
        }
    }

    fn item(&mut self) {
        self.flush();
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}.", *number - 1)
            }
            _ => "•".to_owned(),
        };
        self.control("IP", [mark.as_str(), INDENT]);
        self.in_item = true;
    }

    fn code(&mut self, text: &str) {
        for line in text.lines() {
            self.roff.text([roman(line)]);
        }
    }

    /// A table's row: the first cell is the term. Where there are several others, each has its column's heading before it.
    fn row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        let Some((term, others)) = cells.split_first() else { return };
        self.control("TP", []);
        self.text = term.iter().map(emphasized).collect();
        self.flush();
        let head = self.head.clone();
        let said = others.iter().zip(head.iter().skip(1)).filter(|(cell, _)| !cell.is_empty());
        let several = others.len() > 1;
        for (index, (cell, heading)) in said.enumerate() {
            if index > 0 {
                self.control("br", []);
            }
            if several {
                self.text.push(roman(format!("{heading}: ")));
            }
            self.text.extend_from_slice(cell);
            self.flush();
        }
    }

    fn say(&mut self, text: &str) {
        let said = if self.is(Within::Strong) {
            bold(text)
        } else if self.is(Within::Emphasis) {
            italic(text)
        } else {
            roman(text)
        };
        self.push(said);
    }

    fn push(&mut self, said: Inline) {
        if !self.is(Within::Hidden) {
            self.text.push(said);
        }
    }

    fn is(&self, within: Within) -> bool {
        self.within.contains(&within)
    }

    /// Gives the text its line.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            self.in_item = false;
            self.roff.text(text);
        }
    }

    fn control<const N: usize>(&mut self, name: &str, args: [&str; N]) {
        // An empty argument has to be seen, or the next takes its place. The crate quotes only those with blanks.
        self.roff.control(name, args.map(|arg| if arg.is_empty() { "\"\"" } else { arg }));
    }
}

fn plain(text: &[Inline]) -> String {
    let word = |inline: &Inline| match inline {
        Inline::Roman(text) | Inline::Bold(text) | Inline::Italic(text) => text.clone(),
        Inline::LineBreak => " ".to_owned(),
    };
    text.iter().map(word).collect()
}

fn emphasized(text: &Inline) -> Inline {
    match text {
        Inline::Roman(text) => bold(text),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(source: &'static str) -> String {
        let page = render(&Topic { name: "x", source });
        let (head, body) = page.split_once(".SH DESCRIPTION\n").unwrap();
        assert!(head.contains("berth\\-x \\- about x\n"), "{head}");
        body.to_owned()
    }

    #[test]
    fn text_lists_and_code_become_macros() {
        let body =
            page("# x: about x\n\nA *b* `--c`\n**d**.\n\n## Use it\n\n- e\n- f\n\n```toml\n.g = 1\n```\n");
        let text = ".PP\nA \\fIb\\fR \\fB\\-\\-c\\fR \\fBd\\fR.\n.SH \"Use it\"\n";
        let list = ".IP • 4\ne\n.IP • 4\nf\n";
        let code = ".PP\n.RS 4\n.EX\n\\&.g = 1\n.EE\n.RE\n";
        assert_eq!(body, format!("{text}{list}{code}"));
    }

    #[test]
    fn a_row_is_a_term_and_what_is_said_of_it() {
        let two = page("# x: about x\n\n| a | b |\n|---|---|\n| `c` | d |\n");
        assert_eq!(two, ".TP\n\\fBc\\fR\nd\n");
        let three = page("# x: about x\n\n| a | b | e |\n|---|---|---|\n| c | | d |\n| f | g | h |\n");
        assert_eq!(three, ".TP\n\\fBc\\fR\ne: d\n.TP\n\\fBf\\fR\nb: g\n.br\ne: h\n");
    }

    #[test]
    fn a_link_to_a_topic_names_its_page_and_a_picture_is_left_out() {
        let body = page("# x: about x\n\nSee [chaos](chaos.md) and [here](https://a.b).\n\n![c](d.svg)\n");
        assert_eq!(body, ".PP\nSee \\fBberth\\-chaos\\fR(7) and here.\n.PP\n");
    }
}
