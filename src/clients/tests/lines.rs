//! Variables that a line itself sets, and those that its client passes on.

use super::*;

/// What comes of a line whose words may hold spaces.
fn of(line: &str, env: &[(&str, &str)]) -> Result<Translated, String> {
    let mut words = shlex::split(line).unwrap().into_iter();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let entry = Entry { command: words.next().unwrap(), args: words.collect(), env, ..Entry::default() };
    taken_over(&entry, |_| "base".to_owned())
}

fn moved(translated: &Translated) -> Vec<String> {
    translated.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn a_credential_beside_a_variable_moves_with_it() {
    for value in [
        "DATABASE_URL=postgres://app:hunter2@${DB_HOST}/x",
        "API_KEY=${API_KEY:-hunter2hunter2}",
        "URL=${URL:-https://u:hunter2@h/x}",
    ] {
        let taken = of(&format!("docker run -i --rm -e '{value}' some/image"), &[]).unwrap();
        let (table, name) = (taken.table.to_string(), value.split('=').next().unwrap());
        assert!(!table.contains("hunter2"), "{table}");
        assert!(table.contains(&format!("secrets = {{ {name} = \"${{{name}}}\" }}")), "{table}");
        assert_eq!(moved(&taken), [value], "the client fills in the same");
    }
    // A shell alone would fill it in.
    let why = of("bash -c 'export U=postgres://app:hunter2@$DB_HOST/x && npx p'", &[]).unwrap_err();
    assert!(
        why.contains("`U`") && why.contains("looks like a credential") && !why.contains("hunter"),
        "{why}"
    );
    for (line, table) in [
        ("docker run -i -e 'U=postgres://u:${PASSWORD}@h/d' i", "U = \"postgres://u:${PASSWORD}@h/d\""),
        ("docker run -i -e 'API_KEY=${OTHER}' i", "API_KEY = \"${OTHER}\""),
        ("docker run -i -e 'API_KEY=${OTHER:-}' i", "API_KEY = \"${OTHER:-}\""),
        ("docker run -i -e 'MODE=${MODE:-fast}' i", "MODE = \"${MODE:-fast}\""),
    ] {
        let taken = of(line, &[]).unwrap();
        assert!(taken.table.to_string().contains(table) && taken.env.is_empty(), "{}", taken.table);
    }
}

#[test]
fn the_lines_own_value_counts_before_the_entrys() {
    let line = "docker run -i -e API_URL=http://a.example -e LEVEL=1 i";
    let taken = of(line, &[("API_URL", "http://b.example"), ("LEVEL", "1")]).unwrap();
    let table = taken.table.to_string();
    assert!(
        table.contains("API_URL = \"${API_URL_2}\"") && table.contains("LEVEL = \"${LEVEL}\""),
        "{table}"
    );
    assert_eq!(moved(&taken), ["API_URL_2=http://a.example"]);
    let secret = of("docker run -i -e A_TOKEN=hunter2-a i", &[("A_TOKEN", "hunter2-b")]).unwrap();
    assert!(
        secret.table.to_string().contains("secrets = { A_TOKEN = \"${A_TOKEN_2}\" }"),
        "{}",
        secret.table
    );
    assert_eq!(moved(&secret), ["A_TOKEN_2=hunter2-a"]);
}

#[test]
fn what_codex_passes_on_need_not_be_set() {
    let mut npx = entry("npx -y p");
    npx.env_vars = vec!["FOO".to_owned(), "BAR".to_owned()];
    npx.env = vec![("BAR".to_owned(), "x".to_owned())];
    let table = taken_over(&npx, |_| "base".to_owned()).unwrap().table.to_string();
    assert!(
        table.contains("env_vars = [\"FOO\"]") && table.contains("env = { BAR = \"${BAR}\" }"),
        "{table}"
    );
}

#[test]
fn the_machines_variables_of_a_line_are_left_out() {
    let line = "bash -c 'export PATH=/home/alex/.nvm/bin:$PATH NVM_DIR=/home/alex/.nvm && npx -y p'";
    let taken = of(line, &[]).unwrap();
    assert!(!taken.table.to_string().contains("alex"), "{}", taken.table);
    assert!(taken.notes.iter().any(|note| note.contains("`PATH` is left out")), "{:?}", taken.notes);
    let taken = of("env PATH=/x HOME=/y MODE=fast npx p", &[]).unwrap();
    assert_eq!(taken.table["env"].to_string().trim(), "{ MODE = \"${MODE}\" }");
    // An image's own are what its line says.
    let taken = of("docker run -i -e PATH=/opt/bin -e HOME=/data i", &[]).unwrap().table.to_string();
    assert!(taken.contains("PATH = \"/opt/bin\"") && taken.contains("HOME = \"/data\""), "{taken}");
}
