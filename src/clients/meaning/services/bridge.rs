//! Packages that only pass messages on to a server elsewhere: there is nothing of theirs to isolate.

use crate::runner::Program;

/// Those that do nothing else, whatever their arguments.
const ALWAYS: [&str; 4] = [
    "mcp-remote",
    "mcp-remote-client",
    "@pyroprompts/mcp-stdio-to-streamable-http-adapter",
    "mcp-streamablehttp-proxy",
];

/// Those that do it where an address is their first argument, or follows one of the flags.
const SOMETIMES: [(&str, &[&str]); 2] =
    [("supergateway", &["--sse", "--streamableHttp"]), ("mcp-proxy", &[])];

/// Why the server is better left to its client; no address is shown, for it may hold a key.
pub fn refusal(program: &Program) -> Option<String> {
    let Program::Package(package) = program else { return None };
    let name = package.packages.iter().find_map(|spec| {
        let at =
            spec.char_indices().skip(1).find(|(_, c)| "@=[".contains(*c)).map_or(spec.len(), |(at, _)| at);
        let name = &spec[..at];
        let is_address = |word: &String| word.starts_with("http://") || word.starts_with("https://");
        let sometimes = SOMETIMES.iter().any(|(known, flags)| {
            let args = &package.args;
            let first = flags.is_empty() && args.iter().any(is_address);
            let behind =
                args.windows(2).any(|pair| flags.contains(&pair[0].as_str()) && is_address(&pair[1]));
            *known == name && (first || behind)
        });
        (ALWAYS.contains(&name) || sometimes).then_some(name)
    })?;
    Some(format!(
        "`{name}` only passes messages on to a server elsewhere, by HTTP: nothing of it runs here that a container would \
         hold back; have the client speak HTTP itself: `claude mcp add --transport http NAME URL` (with `--header \
         \"NAME: VALUE\"` where there is one), or in Codex `url = \"URL\"` under [mcp_servers.NAME] and \
         `codex mcp login NAME`; both log in by the browser"
    ))
}
