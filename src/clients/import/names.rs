//! Names for berth.toml, made of what clients call their servers. The client's own name stays in its file.

/// As long as a server's name may be.
const LONGEST: usize = 64;
/// Where nothing of a name is left.
const NAMELESS: &str = "server";

/// The names that a server could have in berth.toml, the best first: its own if that is fit, and then with numbers.
pub(super) fn candidates(name: &str) -> impl Iterator<Item = String> {
    let fit = fit(name);
    let numbered = fit.clone();
    std::iter::once(fit).chain((2..).map(move |number: u32| {
        let number = format!("-{number}");
        let kept = cut(&numbered, LONGEST - number.len());
        format!("{kept}{number}")
    }))
}

/// Letters, digits, `-` and `_`; what else there is becomes a dash.
fn fit(name: &str) -> String {
    let mut fit = String::new();
    for char in name.chars() {
        match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => fit.push(char),
            _ if fit.ends_with('-') => {}
            _ => fit.push('-'),
        }
    }
    let fit = fit.trim_start_matches(['-', '_']);
    // A dash at the end that is the name's own is no harm; one that is not looks like a mistake.
    let fit = if name.ends_with('-') { fit } else { fit.trim_end_matches('-') };
    match cut(fit, LONGEST) {
        "" => NAMELESS.to_owned(),
        fit => fit.to_owned(),
    }
}

/// Its first characters, all of them ASCII.
fn cut(name: &str, length: usize) -> &str {
    name.get(..length).map_or(name, |name| name.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::is_server_name;

    #[test]
    fn every_name_gets_one_that_berth_takes_and_a_fit_one_stays() {
        for (name, expected) in [
            ("time", "time"),
            ("My_Server-2", "My_Server-2"),
            ("github.com/upstash/context7-mcp", "github-com-upstash-context7-mcp"),
            ("awslabs.cloudtrail-mcp-server", "awslabs-cloudtrail-mcp-server"),
            ("Framelink MCP for Figma", "Framelink-MCP-for-Figma"),
            ("@scope/name", "scope-name"),
            ("_private", "private"),
            ("caf\u{e9} \u{2615} bar", "caf-bar"),
            ("\u{5929}\u{6c14}", "server"),
            ("", "server"),
            ("--help", "help"),
        ] {
            assert_eq!(candidates(name).next().unwrap(), expected, "{name}");
        }
        let long = "x".repeat(63) + ".yz";
        let names: Vec<String> = candidates(&long).take(12).collect();
        assert_eq!(names[0], "x".repeat(63));
        assert_eq!(names[11], "x".repeat(61) + "-12");
        assert!(names.iter().all(|name| is_server_name(name)), "{names:?}");
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        assert_eq!(candidates("a.b").take(3).collect::<Vec<_>>(), ["a-b", "a-b-2", "a-b-3"]);
    }
}
