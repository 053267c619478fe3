//! Credentials in a text, by their look: logins in addresses, headers, assignments, well-known kinds of tokens, keys.

use std::ops::Range;

use super::everyday::{is_choice, is_switch};
use super::name::{Naming, naming};
use super::{everyday, is_everyday};

/// A piece of a text that looks like a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub range: Range<usize>,
    /// What gives it away: the name before it, else its kind.
    pub by: By,
}

/// What gives a credential away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The name that it is assigned to: `apiKey`, `Authorization`.
    Name(String),
    /// The word before it in a header: `Bearer`.
    Scheme(&'static str),
    /// It is in an address, before the `@` or as its path.
    Address,
    /// How it begins.
    Kind,
    /// It is a private key.
    Key,
}

/// The words before a credential in a header.
const SCHEMES: [&str; 3] = ["Bearer", "Basic", "Token"];

/// Well-known kinds of credentials: how they begin, and how much comes at least behind that (bytes). By the vendors'
/// documentation; the lists of the usual scanners name the same.
#[rustfmt::skip]
const KINDS: &[(&str, usize)] = &[
    ("1//0", 20), ("A3-", 20), ("ABIA", 16), ("ABSK", 32), ("ACCA", 16), ("AGE-SECRET-KEY-1", 16), ("AIza", 16), ("AKIA", 12),
    ("ASIA", 12), ("ATATT", 16), ("ATCTT3", 8), ("AKCp", 32), ("BSA", 24), ("CCIPAT_", 8), ("CFPAT-", 8),
    ("EAAC", 32), ("EAAM", 32), ("EZAK", 24), ("EZTK", 24), ("FLWSECK", 8), ("FlyV1", 16), ("GOCSPX-", 8), ("GR1348941", 8),
    ("LTAI", 16), ("NRAK-", 8), ("NRJS-", 8), ("PMAK-", 8), ("SG.", 20), ("apify_api_", 8), ("atlasv1.", 16), ("bb_live_", 8),
    ("ctx7sk-", 8), ("dapi", 32), ("dckr_oat_", 8), ("dckr_pat_", 8), ("dnkey-", 16), ("doo_v1_", 8), ("dop_v1_", 8),
    ("dor_v1_", 8), ("dp.pt.", 16), ("dp.st.", 16), ("dt0c01.", 16), ("duffel_live_", 8), ("duffel_test_", 8), ("e2b_", 16),
    ("eyJ", 16), ("fc-", 24), ("figd_", 8), ("figo_", 8), ("figu_", 8), ("fio-u-", 16), ("fm1a_", 16), ("fm1r_", 16),
    ("fm2_", 16), ("fo1_", 16), ("ghe_", 8), ("gho_", 8), ("ghp_", 8), ("ghr_", 8), ("ghs_", 8), ("ghu_", 8),
    ("github_pat_", 8), ("glagent-", 8), ("glcbt-", 8), ("gldt-", 8), ("glffct-", 8), ("glft-", 8), ("glimt-", 8),
    ("gloas-", 8), ("glpat-", 8), ("glptt-", 8), ("glrt-", 8), ("glsa_", 8), ("glc_", 16), ("glsoat-", 8), ("gsk_", 12),
    ("hf_", 16), ("hvb.", 16), ("hvr.", 16), ("hvs.", 16), ("jina_", 16), ("key-", 32), ("lin_api_", 8), ("lin_oauth_", 8),
    ("lsv2_pt_", 8), ("lsv2_sk_", 8), ("napi_", 16), ("nfp_", 16), ("npm_", 24), ("ntn_", 12), ("nvapi-", 12), ("ops_eyJ", 16),
    ("pat-na1-", 8), ("pat-eu1-", 8), ("phx_", 16), ("pplx-", 12), ("pscale_", 16), ("pul-", 24), ("pypi-", 12), ("r8_", 16),
    ("re_", 24), ("rk_live_", 8), ("rk_test_", 8), ("rubygems_", 16), ("sb_secret_", 8), ("sbp_", 12), ("secret_", 24),
    ("shpat_", 8), ("shppa_", 8), ("shpss_", 8), ("sk-", 12), ("sk_", 16), ("sk_live_", 8), ("sk_test_", 8), ("sntrys_", 8),
    ("sntryu_", 8), ("squ_", 8), ("sqp_", 8), ("tvly-", 8),
    ("tskey-", 8), ("vcp_", 16), ("whsec_", 8), ("xai-", 16), ("xapp-", 8), ("xkeysib-", 8), ("xoxa-", 8), ("xoxb-", 8),
    ("xoxc-", 8), ("xoxd-", 8), ("xoxe-", 8), ("xoxe.", 8), ("xoxp-", 8), ("xoxr-", 8), ("xoxs-", 8), ("ya29.", 16),
    ("sl.", 64), ("sqa_", 8), ("sq0atp-", 8), ("sq0csp-", 8),
];

/// Addresses whose path alone lets somebody in: their host and what comes before the credential.
const HOOKS: [&str; 5] = [
    "hooks.slack.com/services/",
    "hooks.slack.com/workflows/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
    "webhook.office.com/webhookb2/",
];

/// Parameters of addresses, and flags, that mean a credential only there.
pub(super) const SHORT_NAMES: [&str; 7] = ["k", "key", "pat", "pass", "pwd", "sig", "signature"];

/// All that looks like a credential in `text`, in the order of its beginning. Templates (`${NAME}`) are none.
pub fn credentials(text: &str) -> Vec<Credential> {
    let mut found = Vec::new();
    assigned(text, &mut found);
    found.retain(|credential| is_given(text, credential));
    found.extend(spelt(text));
    let all = found.clone();
    // The word behind `Bearer` counts, and not the header as a whole.
    found.retain(|outer| {
        let is_header = |inner: &Credential| {
            matches!((&outer.by, &inner.by), (By::Name(_), By::Scheme(_)))
                && outer.range.contains(&inner.range.start)
                && inner.range.end >= outer.range.end
        };
        !all.iter().any(is_header)
    });
    found.sort_by_key(|credential| (credential.range.start, credential.range.end));
    let mut end = 0;
    found.retain(|credential| {
        let is_new = credential.range.start >= end;
        end = end.max(credential.range.end);
        is_new
    });
    found
}

/// Whether a value is there: neither a template nor a placeholder.
fn is_given(text: &str, credential: &Credential) -> bool {
    let value = text.get(credential.range.clone()).unwrap_or_default();
    !value.is_empty() && !value.contains("${") && !value.starts_with('<') && !value.starts_with(super::MARK)
}

/// Those that need no name before them.
pub fn spelt(text: &str) -> Vec<Credential> {
    let mut found = Vec::new();
    // Everything here has one of these.
    if text.contains("://") {
        logins(text, &mut found);
        hooks(text, &mut found);
    }
    if text.contains('@') {
        driver(text, &mut found);
    }
    schemes(text, &mut found);
    kinds(text, &mut found);
    keys(text, &mut found);
    found.retain(|credential| is_given(text, credential));
    found
}

/// The password of each `scheme://user:password@host`. Where there is none, a user that is no person's.
fn logins(text: &str, found: &mut Vec<Credential>) {
    for (at, sign) in text.match_indices("://") {
        let begin = at + sign.len();
        let (before, rest) = (&text[..at], &text[begin..]);
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
        let scheme = before.rsplit(|c| !is_letter(c)).next().unwrap_or_default().to_ascii_lowercase();
        let is_web = ["http", "https", "ws", "wss"].iter().any(|web| scheme.ends_with(web));
        // Databases are told passwords with a `/` in them.
        let end = if is_web || scheme == "file" {
            rest.find(['/', '?', '#', ' ', '"', '\'', '\n', '\\'])
        } else {
            rest.find(['?', ' ', '"', '\'', '\n', '\\'])
        };
        let place = &rest[..end.unwrap_or(rest.len())];
        let Some((login, _)) = place.rsplit_once('@') else { continue };
        let (from, value) = match login.split_once(':') {
            // An `@` in the path, behind a port or a name with a `:` in it.
            Some((user, password)) if user.contains('/') || is_port_and_path(password) => continue,
            Some((user, password)) if !password.is_empty() => (begin + user.len() + 1, password),
            Some((user, _)) => (begin, user),
            None => (begin, login),
        };
        let has_password = from > begin;
        if has_password || (is_web && is_no_persons(value)) {
            found.push(Credential { range: from..from + value.len(), by: By::Address });
        }
    }
}

fn is_port_and_path(text: &str) -> bool {
    text.split_once('/').is_some_and(|(port, _)| port.parse::<u16>().is_ok())
}

/// Whether what stands alone before an `@` lets somebody in: `https://TOKEN@host`.
fn is_no_persons(user: &str) -> bool {
    !is_everyday(user) && (user.len() >= 20 || user.contains(|c: char| c.is_ascii_digit()))
}

/// Go's way of writing it: `user:password@tcp(host:3306)/db`.
fn driver(text: &str, found: &mut Vec<Credential>) {
    for net in ["@tcp(", "@unix("] {
        for (at, _) in text.match_indices(net) {
            let begin = text[..at].rfind([' ', '"', '\'', '=', '/']).map_or(0, |at| at + 1);
            if let Some((user, _)) = text[begin..at].split_once(':') {
                found.push(Credential { range: begin + user.len() + 1..at, by: By::Address });
            }
        }
    }
}

fn hooks(text: &str, found: &mut Vec<Credential>) {
    for hook in HOOKS {
        for (at, _) in text.match_indices(hook) {
            let begin = at + hook.len();
            let end =
                text[begin..].find([' ', '"', '\'', '\\', '\n', '?']).map_or(text.len(), |end| begin + end);
            if end - begin >= 16 {
                found.push(Credential { range: begin..end, by: By::Address });
            }
        }
    }
}

/// What follows `Bearer`. In a sentence it is none; at the beginning of a text or a value it is.
fn schemes(text: &str, found: &mut Vec<Credential>) {
    for (at, _) in text.match_indices(' ') {
        let Some((begin, scheme)) = SCHEMES.iter().find_map(|scheme| {
            let begin = at.checked_sub(scheme.len())?;
            text.get(begin..at)?.eq_ignore_ascii_case(scheme).then_some((begin, *scheme))
        }) else {
            continue;
        };
        if text[..begin].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let before = text[..begin].trim_end_matches(' ');
        let is_value = before.is_empty() || before.ends_with(['"', '\'', ':', '=']);
        let value = text[at..].trim_start_matches(' ');
        let begin = text.len() - value.len();
        let length =
            value.find([' ', '"', '\'', ',', '\\', '\n', '\r', ';', ')', '}']).unwrap_or(value.len());
        let value = &value[..length];
        let counts = if scheme == "Bearer" && is_value {
            !is_switch(value) && !["token", "tokens", "auth", "authentication"].contains(&value)
        } else {
            value.len() >= 8 && !is_choice(value) && (is_value || everyday::is_random(value))
        };
        if counts {
            found.push(Credential { range: begin..begin + length, by: By::Scheme(scheme) });
        }
    }
}

/// Words that begin as well-known credentials do. All of them have a digit or a capital behind that.
fn kinds(text: &str, found: &mut Vec<Credential>) {
    let in_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if !in_word(byte) {
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().position(|byte| !in_word(*byte)).unwrap_or(bytes.len() - at);
        let (begin, end) = (at, at + length);
        at = end;
        // The shortest of all.
        if length < 12 {
            continue;
        }
        let whole = &text[begin..end];
        let word = whole.trim_start_matches(['-', '.', '_']).trim_end_matches('.');
        let begin = begin + (whole.len() - whole.trim_start_matches(['-', '.', '_']).len());
        let is_kind = |(prefix, least): &(&str, usize)| {
            word.strip_prefix(prefix).is_some_and(|rest| {
                rest.len() >= *least && rest.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
            })
        };
        // Terraform's have it in the middle.
        let is_terraforms = word.split_once(".atlasv1.").is_some_and(|(_, rest)| rest.len() >= 8);
        if is_terraforms || KINDS.iter().any(is_kind) {
            found.push(Credential { range: begin..begin + word.len(), by: By::Kind });
        }
    }
}

/// Private keys, from their first line to their last.
fn keys(text: &str, found: &mut Vec<Credential>) {
    const END: &str = "PRIVATE KEY";
    let mut from = 0;
    while let Some(at) = text[from..].find("-----BEGIN ") {
        let begin = from + at;
        from = begin + "-----BEGIN ".len();
        let head = &text[from..];
        let Some(name) = head.find("-----").map(|end| &head[..end]) else { return };
        if !name.contains(END) {
            continue;
        }
        let foot = format!("-----END {name}-----");
        let end = head.find(&foot).map_or(text.len(), |end| from + end + foot.len());
        found.push(Credential { range: begin..end, by: By::Key });
        from = end;
    }
}

/// The values of `NAME=VALUE`, `NAME: VALUE`, `"NAME": "VALUE"` and `?NAME=VALUE&…`, whatever is around them.
fn assigned(text: &str, found: &mut Vec<Credential>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    for (at, sign) in text.match_indices(['=', ':']) {
        let before = text[..at].trim_end_matches(['"', '\'', '\\', ' ']);
        let start = before
            .rfind(|c| !is_name(c))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let (name, around) = (before[start..].trim_start_matches('-'), &before[..start]);
        let rest = &text[at + 1..];
        // `==`, and the scheme of an address or a path.
        let is_version = rest.starts_with('=') || (sign == ":" && rest.starts_with('/'));
        // A part of a list, such as an ARN.
        let is_listed = sign == ":" && around.ends_with(':');
        let is_first = around.trim_start_matches('-').is_empty();
        // A sentence about a name.
        let is_said = sign == "=" && rest.starts_with(' ') && !is_first;
        if name.is_empty() || is_version || is_listed || is_said {
            continue;
        }
        let value = rest.trim_start_matches(['"', '\'', '\\', ' ']);
        let begin = at + 1 + rest.len() - value.len();
        // What a template has for a variable that is not set.
        let default = value.strip_prefix('-').filter(|_| sign == ":" && around.ends_with("${"));
        let (begin, value) = default
            .map_or((begin, value), |default| (begin + 1, default.split('}').next().unwrap_or_default()));
        let is_parameter = around.ends_with(['?', '&', ';']);
        let is_pair = sign == "=" && (around.contains(';') || value.contains(';'));
        let ends: &[char] = match (is_parameter, is_pair) {
            (true, _) => &['&', '"', '\'', '`', '#', ' ', ';', '\n'],
            (false, true) => &[';', '"', '\'', '\n'],
            (false, false) if sign == "=" && !is_first => &['&', '"', '\'', '\n', ' '],
            (false, false) => &['&', '"', '\'', '\n'],
        };
        let is_quoted = before.len() < at || value.len() < rest.trim_start_matches(' ').len();
        let value = value.split(ends).next().unwrap_or_default().trim_end_matches(['\\', ' ', ',', '}']);
        let is_sentence = sign == ":" && !is_quoted && value.matches(' ').count() > 1;
        if is_sentence && !name.to_ascii_lowercase().ends_with("cookie") {
            continue;
        }
        let is_flag = before[start..].starts_with('-') || around.ends_with(['?', '&']);
        let is_short = is_flag && sign == "=" && SHORT_NAMES.contains(&name.to_ascii_lowercase().as_str());
        if is_argument_secret(name, value, is_short) {
            let by = By::Name(name.to_owned());
            found.push(Credential { range: begin..begin + value.len(), by });
        }
    }
}

/// Whether what is given by a name in a text or on a command line is a credential. A switch there is none.
pub(super) fn is_argument_secret(name: &str, value: &str, is_short: bool) -> bool {
    if is_switch(value) || everyday::is_path(value) {
        return false;
    }
    match naming(name) {
        Naming::Credential => true,
        Naming::Likely => !is_choice(value),
        Naming::Perhaps | Naming::Other if is_short => !is_choice(value),
        Naming::Perhaps => everyday::is_random(value),
        Naming::Other => false,
    }
}
