//! Packages that need a browser, which no base image has: what to write before the first start.

use crate::runner::{Package, Parsed, Program, Runner};

/// How a package comes by a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Browser {
    /// An image of its own has it: its name, and what is left of the arguments holds for it.
    Image(&'static str),
    /// The package is installed on an image that has one, which this variable or flag names.
    Base(&'static str),
}

/// The image with browsers that a package of Node's or Python's can be installed on.
const NODE: &str = "mcr.microsoft.com/playwright:v1.56.1-noble";
const PYTHON: &str = "mcr.microsoft.com/playwright/python:v1.56.0-noble";

/// Known packages, without their versions.
const PACKAGES: [(Runner, &str, Browser); 12] = [
    (Runner::Npx, "@playwright/mcp", Browser::Image("mcr.microsoft.com/playwright/mcp")),
    (Runner::Npx, "chrome-devtools-mcp", Browser::Base("--executablePath")),
    (Runner::Npx, "@modelcontextprotocol/server-puppeteer", Browser::Image("mcp/puppeteer")),
    (Runner::Npx, "@executeautomation/playwright-mcp-server", Browser::Base("PLAYWRIGHT_BROWSERS_PATH")),
    (Runner::Npx, "puppeteer-mcp-server", Browser::Base("PUPPETEER_EXECUTABLE_PATH")),
    (Runner::Npx, "@agentdeskai/browser-tools-mcp", Browser::Base("CHROME_PATH")),
    (Runner::Npx, "@browsermcp/mcp", Browser::Base("CHROME_PATH")),
    (Runner::Npx, "fetcher-mcp", Browser::Base("PLAYWRIGHT_BROWSERS_PATH")),
    (Runner::Npx, "@angiejones/mcp-selenium", Browser::Base("CHROME_PATH")),
    (Runner::Uvx, "browser-use", Browser::Base("PLAYWRIGHT_BROWSERS_PATH")),
    (Runner::Uvx, "crawl4ai-mcp-server", Browser::Base("PLAYWRIGHT_BROWSERS_PATH")),
    (Runner::Uvx, "mcp-server-browser-use", Browser::Base("PLAYWRIGHT_BROWSERS_PATH")),
];

/// What is to be written for a package that needs a browser.
pub(super) fn note(parsed: &Parsed) -> Option<String> {
    let Program::Package(package) = &parsed.program else { return None };
    let known =
        PACKAGES.iter().find(|(runner, name, _)| *runner == package.runner && *name == package.bare());
    match known.map(|(_, _, browser)| *browser).or_else(|| looks(package))? {
        Browser::Image(image) => Some(format!(
            "before it can open a page: it needs a browser, which the image `{image}` has; in its [servers.NAME] write \
             `image = \"{image}\"` instead of `{}`, with what follows the package as `args`",
            package.runner.as_str()
        )),
        Browser::Base(by) => Some(format!(
            "before it can open a page: it needs a browser; to its [servers.NAME] add `base = \"{}\"`, and where it finds none \
             there, say where it is by `{by}`",
            if package.runner == Runner::Npx { NODE } else { PYTHON }
        )),
    }
}

/// A package whose name says it.
fn looks(package: &Package) -> Option<Browser> {
    let mut words = package.bare().split(|c: char| !c.is_ascii_alphanumeric());
    let by = words.find_map(|word| match word.to_ascii_lowercase().as_str() {
        "playwright" => Some("PLAYWRIGHT_BROWSERS_PATH"),
        "puppeteer" => Some("PUPPETEER_EXECUTABLE_PATH"),
        "chromium" | "selenium" => Some("CHROME_PATH"),
        _ => None,
    })?;
    Some(Browser::Base(by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::parse;

    #[test]
    fn who_needs_a_browser_is_told_before_the_first_start() {
        let said = |line: &str| note(&parse(&shlex::split(line).unwrap()).unwrap()).unwrap_or_default();
        assert!(
            said("npx @playwright/mcp@latest").contains("`image = \"mcr.microsoft.com/playwright/mcp\"`")
        );
        assert!(
            said("npx -y chrome-devtools-mcp@latest").contains("`base = \"mcr.microsoft.com/playwright:")
        );
        assert!(said("npx -y some-puppeteer-thing").contains("PUPPETEER_EXECUTABLE_PATH"));
        assert!(said("uvx playwright-mcp").contains("playwright/python"));
        for line in
            ["npx -y @modelcontextprotocol/server-memory", "docker run mcp/puppeteer", "uvx puppeteers"]
        {
            assert_eq!(said(line), "", "{line}");
        }
    }
}
