//! As much of HTTP/1 as tells whose a request is (RFC 9112). What another reader might take for something else is refused.

/// No head of a request is longer.
pub(in super::super) const LONGEST: usize = 64 << 10;

/// No method of a registry is half as long.
const LONGEST_METHOD: usize = 40;

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Request {
    pub(in super::super) method: String,
    pub(in super::super) target: String,
    pub(in super::super) host: String,
    /// The port that it names.
    pub(in super::super) port: Option<u16>,
    /// Of the body.
    pub(in super::super) length: u64,
    /// In the bytes that it was read from.
    pub(in super::super) head: usize,
    /// To pass on: the connection ends with the answer, so that no other request can follow.
    pub(in super::super) rewritten: Vec<u8>,
}

/// The beginning of a connection, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Opening {
    Unfinished,
    Request(Box<Request>),
    /// It is none that anybody should understand.
    Broken(&'static str),
    /// Another protocol.
    Other,
}

/// Fields that end at the next hop, and would have the connection go on.
const HOP: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings", "te"];

/// Whether it may be HTTP: its first line, behind empty ones, says so. Servers are lenient there, so that we have to be, too.
fn first_line(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    let begin =
        bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n' | b' ' | b'\t')).unwrap_or(bytes.len());
    let rest = &bytes[begin..];
    let end = rest.iter().position(|byte| *byte == b'\n');
    match end {
        Some(end) if is_text(&rest[..end]) => Ok(Some(&rest[..end])),
        None if is_text(rest) && may_begin(rest) && rest.len() < LONGEST => Err(()),
        _ => Ok(None),
    }
}

/// Whether these bytes without an end may become a request's line: other protocols wait for an answer to theirs.
fn may_begin(rest: &[u8]) -> bool {
    let method = rest.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    method.len() <= LONGEST_METHOD
        && std::str::from_utf8(method).is_ok_and(|method| method.is_empty() || is_token(method))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| !matches!(byte, 0..=8 | 14..=31 | 127))
}

fn has(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

pub(in super::super) fn opening(bytes: &[u8]) -> Opening {
    match first_line(bytes) {
        Err(()) => return Opening::Unfinished,
        Ok(Some(line)) if has(line, b"HTTP/") => {}
        Ok(_) => return Opening::Other,
    }
    let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
        // A head that ends otherwise to somebody.
        let ends = bytes.windows(2).any(|end| end == b"\n\n") || bytes.windows(3).any(|end| end == b"\n\r\n");
        let too_long = bytes.len() >= LONGEST;
        return if ends || too_long { Opening::Broken("its head is malformed") } else { Opening::Unfinished };
    };
    match read(&bytes[..end], end + 4) {
        Ok(request) => Opening::Request(Box::new(request)),
        Err(why) => Opening::Broken(why),
    }
}

fn read(head: &[u8], length: usize) -> Result<Request, &'static str> {
    const MALFORMED: &str = "its head is malformed";
    let text = std::str::from_utf8(head).map_err(|_| MALFORMED)?;
    let lines: Vec<&str> = text.split("\r\n").collect();
    if lines.iter().any(|line| line.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 127)) {
        return Err(MALFORMED);
    }
    let [first, fields @ ..] = lines.as_slice() else { return Err(MALFORMED) };
    let [method, target, version] = first.split(' ').collect::<Vec<_>>()[..] else { return Err(MALFORMED) };
    if !is_token(method) || target.is_empty() || !["HTTP/1.1", "HTTP/1.0"].contains(&version) {
        return Err("it is not HTTP/1");
    }
    let (mut host, mut body, mut rewritten) = (None, None, format!("{first}\r\n"));
    for field in fields {
        let (name, value) = field.split_once(':').ok_or(MALFORMED)?;
        if !is_token(name) {
            return Err(MALFORMED);
        }
        let (name, value) = (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']));
        match name.as_str() {
            "host" if host.is_some() => return Err("it names its host twice"),
            "host" => host = Some(value),
            "transfer-encoding" => return Err("its body has no length"),
            "content-length" if body.is_some() => return Err("it says twice how long it is"),
            "content-length" => {
                let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                body = Some(value.parse::<u64>().ok().filter(|_| is_number).ok_or(MALFORMED)?);
            }
            _ => {}
        }
        if !HOP.contains(&name.as_str()) {
            rewritten.push_str(field);
            rewritten.push_str("\r\n");
        }
    }
    rewritten.push_str("Connection: close\r\n\r\n");
    // Clients of HTTP/1.0 say it there alone.
    let host = if method == "CONNECT" { Some(target) } else { host };
    let (host, port) = authority(host.unwrap_or_default()).ok_or("it names no host")?;
    if method != "CONNECT" && !target.starts_with('/') && target != "*" {
        // A proxy's form, which goes before the field.
        let named =
            target.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if named.and_then(authority) != Some((host.clone(), port)) {
            return Err("it names another host in its first line");
        }
    }
    Ok(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        host,
        port,
        length: body.unwrap_or_default(),
        head: length,
        rewritten: rewritten.into_bytes(),
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// `NAME` or `NAME:PORT`, in lower case.
pub(in super::super) fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (text, None),
    };
    let plain = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
    plain.then(|| (host.to_ascii_lowercase(), port))
}
