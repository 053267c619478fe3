//! Packages that need a browser, which no base image has: what to write before the first start. What is said of a package
//! stands in its own code or manual.

use crate::runner::{Package, Parsed, Program, Runner};
use crate::values::secret_arguments;

/// How a package comes by a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Browser {
    /// An image of its makers' has it.
    Image(&'static str),
    /// These arguments say where it is.
    Arguments(&'static str),
    /// These variables say it.
    Variables(&'static str),
    /// It is for its manual to say.
    Somehow,
    /// It starts none: what it speaks with, and the line for that.
    Elsewhere(&'static str, &'static str),
}

/// Known packages, without their versions. In Debian's package `chromium` it is `/usr/bin/chromium`.
const PACKAGES: [(Runner, &str, Browser); 12] = [
    (Runner::Npx, "@playwright/mcp", Browser::Image("mcr.microsoft.com/playwright/mcp")),
    (
        Runner::Npx,
        "chrome-devtools-mcp",
        Browser::Arguments(
            "--headless --isolated --executablePath=/usr/bin/chromium --chromeArg=--no-sandbox",
        ),
    ),
    (
        Runner::Npx,
        "@modelcontextprotocol/server-puppeteer",
        Browser::Variables("DOCKER_CONTAINER = \"true\", PUPPETEER_EXECUTABLE_PATH = \"/usr/bin/chromium\""),
    ),
    (
        Runner::Npx,
        "puppeteer-mcp-server",
        Browser::Variables("DOCKER_CONTAINER = \"true\", PUPPETEER_EXECUTABLE_PATH = \"/usr/bin/chromium\""),
    ),
    (
        Runner::Npx,
        "@executeautomation/playwright-mcp-server",
        Browser::Variables("CHROME_EXECUTABLE_PATH = \"/usr/bin/chromium\""),
    ),
    (Runner::Npx, "fetcher-mcp", Browser::Somehow),
    (Runner::Uvx, "browser-use", Browser::Somehow),
    (Runner::Uvx, "crawl4ai-mcp-server", Browser::Somehow),
    (Runner::Uvx, "mcp-server-browser-use", Browser::Somehow),
    (
        Runner::Npx,
        "@browsermcp/mcp",
        Browser::Elsewhere("the extension of your own browser comes to its port", "publish = [\"9009\"]"),
    ),
    (
        Runner::Npx,
        "@agentdeskai/browser-tools-mcp",
        Browser::Elsewhere(
            "it speaks with the `browser-tools-server` on this machine",
            "host_services = [\"3025\"]",
        ),
    ),
    (
        Runner::Npx,
        "cursor-talk-to-figma-mcp",
        Browser::Elsewhere(
            "it speaks with the socket server of Figma's plugin on this machine",
            "host_services = [\"3055\"]",
        ),
    ),
];

/// Flags by which a browser that runs already is named.
const RUNNING: [&str; 7] = [
    "--autoConnect",
    "--browser-url",
    "--browserUrl",
    "--cdp-endpoint",
    "--extension",
    "--ws-endpoint",
    "--wsEndpoint",
];

/// What is to be written for a package that needs a browser.
pub(super) fn note(parsed: &Parsed) -> Option<String> {
    let Program::Package(package) = &parsed.program else { return None };
    if package.args.iter().any(|arg| RUNNING.iter().any(|flag| arg.split('=').next() == Some(flag))) {
        return None;
    }
    let known =
        PACKAGES.iter().find(|(runner, name, _)| *runner == package.runner && *name == package.bare());
    let base = "before it can open a page: it needs a browser, which no image of berth's has; build an image from [bake]'s with \
                `apt-get install chromium`, and in its [servers.NAME] write `base = \"IMAGE\"`";
    Some(match known.map(|(_, _, browser)| *browser).or_else(|| looks(package))? {
        Browser::Image(image) => format!(
            "before it can open a page: it needs a browser, which the image `{image}` of its makers has; in its [servers.NAME] \
             write `image = \"{image}\"` instead of `{}`, with what follows the package as `args`",
            package.runner.as_str()
        ),
        Browser::Arguments(args) => {
            let mut words = package.words();
            if !secret_arguments(&words).is_empty() {
                words.truncate(words.len() - package.args.len());
            }
            format!("{base} and `{} = \"{} {args}\"`", package.runner.as_str(), words.join(" "))
        }
        Browser::Variables(variables) => format!("{base} and `env = {{ {variables} }}`"),
        Browser::Somehow => format!("{base}; its manual says how it is told of `/usr/bin/chromium`"),
        Browser::Elsewhere(what, line) => {
            format!("before it can see a page: {what}; write `{line}` into its [servers.NAME]")
        }
    })
}

/// A package whose name says it. A project's folder is called as its person likes.
fn looks(package: &Package) -> Option<Browser> {
    let mut words = package.bare().split(|c: char| !c.is_ascii_alphanumeric());
    let is_said = words.any(|word| {
        ["chromium", "playwright", "puppeteer", "selenium"].contains(&word.to_ascii_lowercase().as_str())
    });
    (is_said && package.runner != Runner::Uv).then_some(Browser::Somehow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::parse;

    fn said(line: &str) -> String {
        note(&parse(&shlex::split(line).unwrap()).unwrap()).unwrap_or_default()
    }

    #[test]
    fn who_needs_a_browser_is_told_before_the_first_start() {
        assert!(
            said("npx @playwright/mcp@latest").contains("`image = \"mcr.microsoft.com/playwright/mcp\"`")
        );
        let chrome = said("npx -y chrome-devtools-mcp@latest --slim");
        assert!(
            chrome.contains("`npx = \"chrome-devtools-mcp@latest --slim --headless --isolated --executablePath=/usr/bin/chromium --chromeArg=--no-sandbox\"`"),
            "{chrome}"
        );
        assert!(
            chrome.contains("apt-get install chromium") && chrome.contains("`base = \"IMAGE\"`"),
            "{chrome}"
        );
        let puppeteer = said("npx -y @modelcontextprotocol/server-puppeteer");
        assert!(
            puppeteer.contains("`env = { DOCKER_CONTAINER = \"true\", PUPPETEER_EXECUTABLE_PATH ="),
            "{puppeteer}"
        );
        assert!(said("npx -y some-puppeteer-thing").contains("its manual says"));
        assert!(said("uvx playwright-mcp").contains("its manual says"));
        for line in [
            "npx -y @modelcontextprotocol/server-memory",
            "docker run mcp/puppeteer",
            "uvx puppeteers",
            "uv --directory /home/alex/playwright run x.py",
        ] {
            assert_eq!(said(line), "", "{line}");
        }
    }

    #[test]
    fn who_speaks_with_a_persons_own_browser_needs_ports_and_no_browser() {
        let extension = said("npx @browsermcp/mcp@latest");
        assert!(
            extension.contains("`publish = [\"9009\"]`") && !extension.contains("chromium"),
            "{extension}"
        );
        let tools = said("npx @agentdeskai/browser-tools-mcp@latest");
        assert!(tools.contains("`host_services = [\"3025\"]`") && !tools.contains("chromium"), "{tools}");
    }
}
