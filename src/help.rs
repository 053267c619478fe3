//! The manual: one Markdown file per topic, embedded in the program. `berth help` shows it; `berth man` makes pages of
//! it.
//!
//! A topic's file begins with `# NAME: what it is about`. Nothing here knows a command of berth.

mod page;
mod pager;
mod settings;

pub use pager::show;

/// One topic of the manual.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    pub name: &'static str,
    /// The file as it is in the repository.
    pub source: &'static str,
}

macro_rules! topics {
    ($($name:literal),+ $(,)?) => {
        /// All topics, in the order in which they are listed.
        pub const TOPICS: &[Topic] =
            &[$(Topic { name: $name, source: include_str!(concat!("help/", $name, ".md")) }),+];
    };
}

topics![
    "commands",
    "config",
    "clients",
    "packages",
    "files",
    "network",
    "tools",
    "profiles",
    "secrets",
    "identity",
    "sessions",
    "daemon",
    "manager",
    "backup",
    "kubernetes",
    "security",
    "threats",
    "isolation",
    "limits",
    "speed",
    "hosts",
    "examine",
    "chaos",
    "develop",
];

impl Topic {
    pub fn find(name: &str) -> Option<&'static Self> {
        TOPICS.iter().find(|topic| topic.name == name)
    }

    /// What the topic is about, as its heading says: a few words without a full stop.
    pub fn about(&self) -> &'static str {
        let heading = self.source.lines().next().unwrap_or_default();
        heading.split_once(": ").map_or(heading, |(_, about)| about)
    }

    /// The Markdown for a reader: tables of keys in their places, and no comments, which are for programs that edit the file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.source.lines() {
            match settings::in_place_of(line) {
                Some(table) => text += &table,
                None if line.starts_with("<!--") => {}
                None => text = text + line + "\n",
            }
        }
        text
    }

    /// The file of the page for `man`.
    pub fn file_name(&self) -> String {
        format!("berth-{}.7", self.name)
    }

    /// The page for `man`, as roff.
    pub fn page(&self) -> String {
        page::render(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_begins_with_its_topic_and_what_it_is_about() {
        for topic in TOPICS {
            let begin = format!("# {}: {}\n\n", topic.name, topic.about());
            assert!(topic.source.starts_with(&begin), "{}.md begins otherwise than {begin:?}", topic.name);
            assert!(topic.source.ends_with('\n') && !topic.about().ends_with('.'), "{}", topic.name);
        }
    }

    #[test]
    fn comments_are_for_programs_and_not_for_readers() {
        let topic = Topic { name: "x", source: "# x: about x\n\n<!-- a table -->\n| a |\n" };
        assert_eq!(topic.text(), "# x: about x\n\n| a |\n");
    }
}
