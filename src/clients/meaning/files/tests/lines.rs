//! Paths in a line's own variables, and what no line gets.

use super::*;

impl Person {
    /// The same with words that may hold spaces; `@` is the home folder.
    fn line(&self, line: &str, env_vars: &[&str]) -> Result<(String, String), String> {
        let home = format!("{}/home/alex", self.root);
        let put = |text: String| text.replace("@@", "\0").replace('@', &home).replace('\0', "@");
        let mut words = shlex::split(line).unwrap().into_iter().map(put);
        let entry = Entry {
            command: words.next().unwrap(),
            args: words.collect(),
            env_vars: env_vars.iter().map(|name| (*name).to_owned()).collect(),
            ..Entry::default()
        };
        self.takes(&entry)
    }
}

#[test]
fn a_variable_of_the_line_is_looked_at_as_the_entrys_are() {
    let person = Person::new();
    for line in [
        "env DATA_DIR=@/data/x npx p",
        "bash -c 'DATA_DIR=@/data/x npx p'",
        "bash -c 'export DATA_DIR=@/data/x && npx p'",
    ] {
        let (table, notes) = person.line(line, &[]).unwrap();
        assert_eq!(mounts(&table), ["@/data/x:@/data/x:rw"], "{line}: {notes}");
    }
    let (table, _) = person.line("bash -c 'KUBECONFIG=~/.kube/config npx p'", &[]).unwrap();
    assert_eq!(mounts(&table), ["${HOME}/.kube/config:${HOME}/.kube/config"]);
    // What Codex passes on.
    let config = format!("{}/home/alex/.kube/config", person.root);
    let (table, _) = person.set("KUBECONFIG", &config).line("npx p", &["KUBECONFIG"]).unwrap();
    assert_eq!(mounts(&table), ["@/.kube/config:@/.kube/config"]);
    assert!(table.contains("env_vars = [\"KUBECONFIG\"]"), "{table}");
}

#[test]
fn a_project_gets_nothing_hidden_by_whatever_way() {
    let person = Person::new().with(|asked| asked.foreign = true);
    let link = format!("{}/home/alex/Developer/p/link", person.root);
    std::os::unix::fs::symlink(format!("{}/home/alex/.aws", person.root), link).unwrap();
    fs::write(format!("{}/home/alex/.aws/i.js", person.root), "").unwrap();
    for line in [
        "docker run -i -v @/.aws:/k:ro i",
        "docker run -i -v ~/.aws:/k i",
        "docker run -i -v ${HOME}/.aws/x:/k i",
        "docker run -i -v ${CLAUDE_PROJECT_DIR:-.}/../../.aws:/k i",
        "docker run -i -v @/Developer/../.aws:/k i",
        "docker run -i -v @/Developer/p/link:/k i",
        "docker run -i --mount type=bind,src=@/.aws,dst=/k i",
        "docker run -i --env-file @/.aws/credentials i",
        "node @/.aws/i.js",
        "bash -c 'cd @/.aws && npx p'",
    ] {
        let why = person.line(line, &[]).unwrap_err();
        assert!(why.contains("this entry comes from a project's file"), "{line}: {why}");
    }
    let (table, notes) = person.line("npx p @/Developer/p/link", &[]).unwrap();
    assert!(mounts(&table).is_empty() && notes.contains("comes from a project's file"), "{notes}");
    let person = person.with(|asked| asked.credentials = true);
    let (table, notes) = person.line("uvx mcp-proxy-for-aws", &[]).unwrap();
    assert!(mounts(&table).is_empty() && notes.contains("`mounts = [\"~/.aws:/tmp/.aws\"]`"), "{notes}");
    // Its own files say the same, and get it.
    let own = Person::new();
    for line in ["docker run -i -v @/.aws:/k:ro i", "node @/.aws/i.js", "docker run -i -v @/notes:/n i"] {
        assert_eq!(mounts(&own.line(line, &[]).unwrap().0).len(), 1, "{line}");
    }
    assert!(person.line("docker run -i -v @/notes:/n i", &[]).is_ok());
}

#[test]
fn the_whole_home_is_given_to_nobody() {
    let person = Person::new();
    for line in [
        "node @/server.js",
        "npx tsx @/server.ts",
        "uv run --with a @/server.py",
        "docker run -i -v @:/h i",
        "docker run -i -v ~:/h:ro i",
        "docker run -i -v ${HOME}/:/h i",
        "docker run -i -v #/home:/h i",
        "bash -c 'cd ~ && npx p'",
        "npx p /",
        "npx p --root-dir /",
    ] {
        let why = person.line(&line.replace('#', &person.root), &[]).unwrap_err();
        assert!(why.contains("whole home folder"), "{line}: {why}");
        assert!(!line.starts_with("node") || why.contains("a folder of its own"), "{why}");
    }
    // Nobody's folder.
    assert!(person.line("npx p --base-path / --separator /", &[]).is_ok());
}

#[test]
fn what_a_container_has_of_its_own_is_said() {
    let person = Person::new();
    let (_, notes) = person.line("npx p /tmp /run /dev/null --shell /bin/sh", &[]).unwrap();
    for own in ["/tmp", "/run", "/bin/sh"] {
        assert!(notes.contains(&format!("`{own}` is the container's own")), "{notes}");
    }
    assert!(!notes.contains("/dev/null"), "{notes}");
}

#[test]
fn a_log_in_of_a_browser_and_of_the_home_have_one_home() {
    let person = Person::new().with(|asked| asked.credentials = true);
    let (table, _) = person.line("env X_REDIRECT_URI=http://localhost:8912/cb uvx mcp-aws", &[]).unwrap();
    assert!(table.contains("HOME = \"/login\""), "{table}");
    assert_eq!(mounts(&table), ["~/.aws:/login/.aws"]);
    let (table, _) =
        person.line("env X_REDIRECT_URI=http://localhost:8912/cb uvx basic-memory mcp", &[]).unwrap();
    assert!(table.contains(":/login/basic-memory:concurrent"), "{table}");
}

#[test]
fn a_program_that_no_image_has_is_named() {
    let person = Person::new();
    for (line, program) in [
        ("npx -y @@azure-devops/mcp org", "`az`"),
        ("npx -y @@azure/mcp@@latest server start", "`az`"),
        ("npx mcp-server-kubernetes", "`kubectl`"),
        ("npx helm-mcp", "`helm`"),
    ] {
        let (_, notes) = person.line(line, &[]).unwrap();
        assert!(notes.contains(&format!("may call {program}, which no image of berth's has")), "{notes}");
    }
    for line in ["npx -y podman-mcp-server@@latest", "uvx mcp-server-docker"] {
        let (_, notes) = person.line(line, &[]).unwrap();
        assert!(notes.contains("gives no server an engine"), "{notes}");
    }
    for line in ["npx p", "docker run -i mcp/kubernetes", "uv --directory @/keys run podman.py"] {
        let notes = person.line(line, &[]).unwrap().1;
        assert!(!notes.contains("may call") && !notes.contains("an engine"), "{line}: {notes}");
    }
}

#[test]
fn a_projects_folder_is_no_packages_name() {
    let person = Person::new();
    fs::create_dir_all(format!("{}/home/alex/aws-notes", person.root)).unwrap();
    let (_, notes) = person.line("uv --directory @/aws-notes run main.py", &[]).unwrap();
    assert!(!notes.contains(".aws`") && !notes.contains("AWS_"), "{notes}");
}
