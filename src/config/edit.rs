//! `berth.toml`, edited as a person would: comments and order stay. Text to text.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value as TomlValue};

use crate::runner::Package;

/// The configuration with that server in it, which may be there already; `None` where another has its name.
pub fn with_server(text: &str, name: &str, table: &Table) -> Result<Option<String>, String> {
    let mut known = parsed(&text.replace("\r\n", "\n"))?;
    let old = known.get("servers").and_then(|servers| servers.get(name)).and_then(Item::as_table_like);
    Ok(match old {
        Some(old) if plain(&old.iter().collect::<Vec<_>>()) == plain(&table.iter().collect::<Vec<_>>()) => {
            Some(text.to_owned())
        }
        Some(_) => None,
        None => Some(appended(text, &mut known, name, table)),
    })
}

/// The configuration with one more server, behind all there is.
fn appended(text: &str, known: &mut DocumentMut, name: &str, table: &Table) -> String {
    let is_closed = known.get("servers").is_some_and(|servers| !servers.is_table());
    if is_closed {
        // An inline table takes no header of another.
        known["servers"][name] = Item::Value(table.clone().into_inline_table().into());
        return like(text, known.to_string());
    }
    behind(text, "servers", name, table.clone())
}

/// `[KEY.NAME]` behind all there is.
fn behind(text: &str, key: &str, name: &str, table: Table) -> String {
    let mut alone = DocumentMut::new();
    let mut tables = Table::new();
    tables.set_implicit(true);
    tables.insert(name, Item::Table(table));
    alone.insert(key, Item::Table(tables));
    let before = text.replace("\r\n", "\n");
    let gap = match before.as_str() {
        "" => "",
        before if before.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    like(text, format!("{before}{gap}{}", alone.to_string().trim_start()))
}

/// What a table says, however it is laid out.
fn plain(entries: &[(&str, &Item)]) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> =
        entries.iter().map(|(key, item)| ((*key).to_owned(), value(item))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn value(item: &Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return plain(&table.iter().collect::<Vec<_>>()).into_iter().collect();
    }
    match item.as_value() {
        Some(TomlValue::Array(list)) => {
            list.iter().map(|value| self::value(&Item::Value(value.clone()))).collect()
        }
        Some(value) => {
            value.as_str().map_or_else(|| value.clone().decorated("", "").to_string().into(), Value::from)
        }
        None => Value::Null,
    }
}

/// The configuration's text with a server's package pinned; comments and order stay.
pub fn with_pinned(text: &str, server: &str, package: &Package, integrity: &str) -> Result<String, String> {
    let mut document = parsed(&text.replace("\r\n", "\n"))?;
    let table = table_of(&mut document, server)?;
    let key = package.runner.as_str();
    let words = package.words();
    let item = table.get_mut(key).ok_or_else(|| format!("[servers.{server}] has no `{key}`"))?;
    let line = shlex::try_join(words.iter().map(String::as_str)).ok().filter(|_| !item.is_array());
    let mut value = line.map_or_else(
        || TomlValue::from(words.iter().map(String::as_str).collect::<Array>()),
        TomlValue::from,
    );
    if let Some(before) = item.as_value() {
        *value.decor_mut() = before.decor().clone();
    }
    *item = Item::Value(value);
    if integrity.is_empty() {
        table.remove("integrity");
    } else {
        table.insert("integrity", toml_edit::value(integrity));
    }
    Ok(like(text, document.to_string()))
}

/// The configuration's text with the digests of a server's image; comments and order stay.
pub fn with_digests(text: &str, server: &str, digests: &[String]) -> Result<String, String> {
    let mut document = parsed(&text.replace("\r\n", "\n"))?;
    let table = table_of(&mut document, server)?;
    let mut value = match digests {
        [one] => TomlValue::from(one.as_str()),
        all => TomlValue::from(all.iter().map(String::as_str).collect::<Array>()),
    };
    if let Some(before) = table.get("digest").and_then(Item::as_value) {
        *value.decor_mut() = before.decor().clone();
    }
    table.insert("digest", Item::Value(value));
    Ok(like(text, document.to_string()))
}

/// The configuration's text with these folders shared; comments and order stay.
pub fn with_share(text: &str, folders: &[String]) -> Result<String, String> {
    let mut document = parsed(&text.replace("\r\n", "\n"))?;
    let is_new = document.get("dind").is_none();
    let dind = document.entry("dind").or_insert_with(|| Item::Table(Table::new()));
    let dind = dind.as_table_like_mut().ok_or("`dind` is not a table")?;
    let mut value = TomlValue::from(folders.iter().map(String::as_str).collect::<Array>());
    if let Some(before) = dind.get("share").and_then(Item::as_value) {
        *value.decor_mut() = before.decor().clone();
    }
    dind.insert("share", Item::Value(value));
    if let Some(table) =
        document.get_mut("dind").and_then(Item::as_table_mut).filter(|_| is_new && !text.is_empty())
    {
        table.decor_mut().set_prefix("\n");
    }
    Ok(like(text, document.to_string()))
}

/// What becomes of a profile's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile<'a> {
    /// These come behind those that are there.
    With(&'a [String]),
    Without(&'a [String]),
    /// It is taken out.
    Gone,
}

/// The configuration's text with that change to a profile, which need not be there; its other keys, comments and order stay.
pub fn with_profile(text: &str, name: &str, change: Profile<'_>) -> Result<String, String> {
    let mut document = parsed(&text.replace("\r\n", "\n"))?;
    let profiles = document.get_mut("profiles");
    let is_closed = profiles.as_ref().is_some_and(|profiles| !profiles.is_table());
    let Some(profiles) = profiles.filter(|profiles| profiles.get(name).is_some()) else {
        let Profile::With(servers) = change else { return Ok(text.to_owned()) };
        let servers = servers.iter().map(String::as_str).collect::<Array>();
        if is_closed {
            document["profiles"][name]["servers"] = toml_edit::value(servers);
            return Ok(like(text, document.to_string()));
        }
        let table = Table::from_iter([("servers", servers)]);
        return Ok(behind(text, "profiles", name, table));
    };
    let profiles = profiles.as_table_like_mut().ok_or("`profiles` is not a table")?;
    if change == Profile::Gone {
        profiles.remove(name);
        let is_empty = profiles.is_empty();
        if is_empty {
            document.remove("profiles");
        }
        return Ok(like(text, document.to_string()));
    }
    let wrong = || format!("`servers` of [profiles.{name}] is not a list");
    let profile = profiles.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(wrong)?;
    let list = profile.entry("servers").or_insert_with(|| toml_edit::value(Array::new()));
    let list = list.as_array_mut().ok_or_else(wrong)?;
    let has = |list: &Array, server: &str| list.iter().any(|known| known.as_str() == Some(server));
    match change {
        Profile::With(servers) => {
            for server in servers {
                if !has(list, server) {
                    list.push(server);
                }
            }
        }
        Profile::Without(servers) => {
            list.retain(|known| known.as_str().is_none_or(|known| servers.iter().all(|gone| gone != known)));
            if list.is_empty() {
                return with_profile(text, name, Profile::Gone);
            }
        }
        Profile::Gone => {}
    }
    Ok(like(text, document.to_string()))
}

/// The servers of a profile; `None` where there is no such profile.
pub fn profile(text: &str, name: &str) -> Option<Vec<String>> {
    let document = parsed(text).ok()?;
    let profile = document.get("profiles")?.get(name)?;
    let servers = profile.get("servers").and_then(Item::as_array);
    let names = servers.into_iter().flatten().filter_map(TomlValue::as_str).map(str::to_owned);
    Some(names.collect())
}

/// Whether a profile says no more than that it has these servers.
pub fn is_profile_of(text: &str, name: &str, servers: &[String]) -> bool {
    let document = parsed(text).unwrap_or_default();
    let table = document.get("profiles").and_then(|profiles| profiles.get(name)?.as_table_like());
    table.is_some_and(|table| table.len() == 1) && profile(text, name).as_deref() == Some(servers)
}

fn table_of<'a>(document: &'a mut DocumentMut, server: &str) -> Result<&'a mut dyn TableLike, String> {
    document
        .get_mut("servers")
        .and_then(|servers| servers.get_mut(server))
        .and_then(|table| table.as_table_like_mut())
        .ok_or_else(|| format!("there is no [servers.{server}]"))
}

/// `new` with the line ends of the text that it was made of.
fn like(text: &str, new: String) -> String {
    if text.contains("\r\n") { new.replace('\n', "\r\n") } else { new }
}

fn parsed(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|error: toml_edit::TomlError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::{Runner, parse_words};

    #[test]
    fn a_pinned_image_leaves_the_rest_of_the_file_alone() {
        let text =
            "# mine\n[servers.a] # its table\nimage = \"i\" # the image\n\n[servers.b]\nimage = \"j\"\n";
        let digests = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let once = with_digests(text, "a", &digests(&["sha256:1"])).unwrap();
        let both = "image = \"i\" # the image\ndigest = \"sha256:1\"\n\n[servers.b]";
        assert!(once.starts_with("# mine\n[servers.a] # its table\n") && once.contains(both), "{once}");
        let commented = once.replace("sha256:1\"", "sha256:1\" # of May");
        let twice = with_digests(&commented, "a", &digests(&["sha256:2", "sha256:3"])).unwrap();
        assert!(twice.contains("\ndigest = [\"sha256:2\", \"sha256:3\"] # of May\n"), "{twice}");
        assert!(with_digests(text, "x", &[]).unwrap_err().contains("no [servers.x]"));
    }

    #[test]
    fn a_profile_comes_and_goes_and_leaves_the_rest_alone() {
        let names = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (ab, bc) = (names(&["a", "b"]), names(&["b", "c"]));
        let text = "# mine\n[servers.a]\nimage = \"i\"\n";
        let made = with_profile(text, "work", Profile::With(&ab)).unwrap();
        assert_eq!(made, format!("{text}\n[profiles.work]\nservers = [\"a\", \"b\"]\n"));
        assert_eq!(profile(&made, "work"), Some(ab.clone()));
        assert_eq!(profile(text, "work"), None);
        assert!(is_profile_of(&made, "work", &ab) && !is_profile_of(&made, "work", &ab[..1]));
        assert!(
            !is_profile_of(text, "work", &[]) && !is_profile_of(&format!("{made}peers = 1\n"), "work", &ab)
        );
        let gone = with_profile(&made, "work", Profile::Gone).unwrap();
        assert_eq!(gone.trim_end(), text.trim_end());
        assert_eq!(with_profile(text, "work", Profile::Gone).unwrap(), text);
        let own = made.replace("[\"a\", \"b\"]", "[\"a\", \"b\"] # all\ndeny_tools = [\"a__x\"]");
        let more = with_profile(&own, "work", Profile::With(&bc)).unwrap();
        assert_eq!(more, own.replace("\"b\"]", "\"b\", \"c\"]"));
        let c = names(&["c"]);
        assert_eq!(with_profile(&more, "work", Profile::Without(&c)).unwrap(), own);
        let inline = "profiles = { home = { servers = [] } }\n";
        let both = with_profile(inline, "work", Profile::With(&ab)).unwrap();
        assert_eq!(profile(&both, "work"), Some(ab), "{both}");
        assert!(with_profile("profiles.work = 1", "work", Profile::With(&bc)).is_err());
        let none = with_profile(&own, "work", Profile::Without(&names(&["a", "b"]))).unwrap();
        assert_eq!(profile(&none, "work"), None, "one without servers is refused");
    }

    #[test]
    fn what_is_shared_stands_in_its_own_section() {
        let folders = ["~/src".to_owned(), "/srv/a".to_owned()];
        let line = "share = [\"~/src\", \"/srv/a\"]";
        assert_eq!(with_share("", &folders).unwrap(), format!("[dind]\n{line}\n"));
        let text = "# mine\n[servers.a]\nimage = \"i\"\n";
        assert_eq!(with_share(text, &folders).unwrap(), format!("{text}\n[dind]\n{line}\n"));
        let text = "[dind] # here\nport = 1\nshare = [\"~/src\"] # work\n\n[servers.a]\nimage = \"i\"\n";
        assert_eq!(with_share(text, &folders).unwrap(), text.replace("share = [\"~/src\"]", line));
        assert!(with_share("dind = 1", &folders).is_err());
    }

    #[test]
    fn a_pinned_package_leaves_the_rest_of_the_file_alone() {
        let text = "# mine\n[servers.a] # its table\nnpx = \"b --flag 'x y'\" # the package\nmemory = \"64m\"\n\n[servers.c]\n\
                    npx = [\"d\"]\n";
        let package = |runner, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            parse_words(runner, &words).unwrap()
        };
        let once =
            with_pinned(text, "a", &package(Runner::Npx, &["b@1.2", "--flag", "x y"]), "sha512-z").unwrap();
        assert_eq!(
            once,
            "# mine\n[servers.a] # its table\nnpx = \"b@1.2 --flag 'x y'\" # the package\nmemory = \"64m\"\n\
             integrity = \"sha512-z\"\n\n[servers.c]\nnpx = [\"d\"]\n"
        );
        let twice = with_pinned(&once, "a", &package(Runner::Npx, &["b@1.3", "--flag", "x y"]), "").unwrap();
        assert!(
            twice.contains("npx = \"b@1.3 --flag 'x y'\" # the package\nmemory")
                && !twice.contains("integrity")
        );
        let list = with_pinned(text, "c", &package(Runner::Npx, &["d@2"]), "").unwrap();
        assert!(list.ends_with("[servers.c]\nnpx = [\"d@2\"]\n"), "{list}");
        let crlf = text.replace('\n', "\r\n");
        let pinned = with_pinned(&crlf, "c", &package(Runner::Npx, &["d@2"]), "").unwrap();
        assert_eq!(pinned, list.replace('\n', "\r\n"));
        assert!(with_pinned(text, "x", &package(Runner::Npx, &["d"]), "").is_err());
        assert!(with_pinned(text, "a", &package(Runner::Uvx, &["d"]), "").is_err());
    }
}
