//! Programs as npm, pip, pipx and uv leave them on a machine.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        // Temporary folders may lie behind a link.
        self.folder.path().canonicalize().unwrap().join(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn link(&self, from: &str, to: &Path) {
        let from = self.path(from);
        fs::create_dir_all(from.parent().unwrap()).unwrap();
        symlink(to, from).unwrap();
    }

    /// What of a line is understood here.
    fn line(&self, line: &str) -> Result<Parsed, String> {
        let (home, bin) = (self.path("home"), self.path("bin").display().to_string());
        let line = line.replace("SITE", self.path("").display().to_string().trim_end_matches('/'));
        of_line(
            &shlex::split(&line).unwrap(),
            Places { home: Some(&home), lookup: &|name| (name == "PATH").then(|| bin.clone()) },
        )
    }

    fn words(&self, line: &str) -> String {
        match self.line(line).unwrap().program {
            Program::Package(package) => format!("{} {}", package.runner.as_str(), package.words().join(" ")),
            other => panic!("{other:?}"),
        }
    }

    fn distribution(&self, site: &str, name: &str, entry: &str) {
        let about = format!("{site}/{}-1.2.3.dist-info", name.replace('-', "_"));
        self.write(
            &format!("{about}/METADATA"),
            &format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n\nx"),
        );
        self.write(
            &format!("{about}/entry_points.txt"),
            &format!("[console_scripts]\n{entry} = m:f\n[x]\ny = z\n"),
        );
        self.write(
            &format!("{about}/RECORD"),
            &format!("{}/__main__.py,sha256=x,1\n", name.replace('-', "_")),
        );
    }
}

#[test]
fn a_program_that_npm_installed_is_its_package() {
    let site = Site::new();
    let manifest = r#"{ "name": "@zereight/mcp-gitlab", "version": "2.0.1", "bin": { "zereight-mcp-gitlab": "b.js", "mcp-gitlab": "b.js" } }"#;
    site.write("lib/node_modules/@zereight/mcp-gitlab/package.json", manifest);
    let file = site.write("lib/node_modules/@zereight/mcp-gitlab/build/index.js", "#!/usr/bin/env node\n");
    site.link("bin/zereight-mcp-gitlab", &file);
    site.link("bin/mcp-gitlab", &file);
    site.link("bin/other", &file);
    assert_eq!(
        site.words("zereight-mcp-gitlab --x"),
        "npx -p @zereight/mcp-gitlab@2.0.1 zereight-mcp-gitlab --x"
    );
    assert_eq!(site.words("SITE/bin/mcp-gitlab"), "npx @zereight/mcp-gitlab@2.0.1");
    let notes = site.line("mcp-gitlab").unwrap().notes;
    assert_eq!(
        notes,
        [
            "its program is npm's package `@zereight/mcp-gitlab` 2.0.1, which runs instead of the one on this machine"
        ]
    );
    // A name that the package does not have, and none at all.
    assert!(
        site.line("other").unwrap_err().contains("bin/other` is a program of this machine that neither npm")
    );
    assert!(
        site.line("nowhere -x")
            .unwrap_err()
            .contains("`npx -p PACKAGE nowhere` or `uvx --from PACKAGE nowhere`")
    );
    assert!(site.line("npm start").unwrap_err().contains("runs a script of a project"));
}

#[test]
fn what_pnpm_puts_on_the_path_is_a_script() {
    let site = Site::new();
    site.write(
        "store/node_modules/pkg/package.json",
        r#"{ "name": "pkg", "version": "1.0.0", "bin": "x.js" }"#,
    );
    site.write("store/node_modules/pkg/x.js", "");
    site.write(
        "bin/pkg",
        "#!/bin/sh\nbasedir=x\nexec node  \"$basedir/../store/node_modules/pkg/x.js\" \"$@\"\n",
    );
    assert_eq!(site.words("pkg"), "npx pkg@1.0.0");
}

#[test]
fn a_program_that_uv_or_pipx_installed_is_its_package() {
    let site = Site::new();
    let tool = "home/.local/share/uv/tools/serena-agent";
    let python = site.path(&format!("{tool}/bin/python"));
    let text = format!("#!{}\nfrom serena.cli import main\n", python.display());
    let script = site.write(&format!("{tool}/bin/serena"), &text);
    site.distribution(&format!("{tool}/lib/python3.12/site-packages"), "mcp", "mcp");
    site.distribution(&format!("{tool}/lib/python3.12/site-packages"), "serena-agent", "serena");
    site.link("home/.local/bin/serena", &script);
    assert_eq!(
        site.words("serena start-mcp-server"),
        "uvx --from serena-agent==1.2.3 serena start-mcp-server"
    );
    // Of git, at the commit that is installed.
    let about = format!("{tool}/lib/python3.12/site-packages/serena_agent-1.2.3.dist-info/direct_url.json");
    site.write(&about, r#"{ "url": "https://h/x", "vcs_info": { "vcs": "git", "commit_id": "00ff" } }"#);
    assert_eq!(site.words("serena x"), "uvx --from serena-agent @ git+https://h/x@00ff serena x");
    // Of a folder: its project's, if it is one.
    let folder = site.path("project");
    site.write(&about, &format!(r#"{{ "url": "file://{}", "dir_info": {{}} }}"#, folder.display()));
    assert!(site.line("serena x").unwrap_err().contains("was installed from"));
    site.write("project/pyproject.toml", "[project]");
    assert_eq!(site.words("serena x"), format!("uv --directory {} run serena x", folder.display()));
}

#[test]
fn a_module_is_of_the_package_that_has_it() {
    let site = Site::new();
    site.write("venv/bin/python", "");
    site.distribution("venv/lib/python3.12/site-packages", "mcp-server-git", "mcp-server-git");
    assert_eq!(
        site.words("SITE/venv/bin/python -u -m mcp_server_git -r /x"),
        "uvx --from mcp-server-git==1.2.3 python -m mcp_server_git -r /x"
    );
    assert!(
        site.line("SITE/venv/bin/python -m nothing")
            .unwrap_err()
            .contains("--from PACKAGE python -m nothing")
    );
}

#[test]
fn a_script_may_name_its_packages() {
    let site = Site::new();
    let head = "# /// script\n# requires-python = \">=3.10\"\n# dependencies = [\n#   \"mcp[cli]>=1.2\",\n#   \"httpx ; x\",\n# ]\n# ///\n";
    site.write("shop/server.py", &format!("#!/usr/bin/env -S uv run\n{head}import mcp\n"));
    let folder = site.path("shop").display().to_string();
    let expected = format!("uvx --with httpx --from mcp[cli]>=1.2 python {folder}/server.py --x");
    assert_eq!(site.words("uv run SITE/shop/server.py --x"), expected);
    assert_eq!(site.words("uv --directory SITE/shop run --script server.py --x"), expected);
    assert_eq!(site.line("uv run SITE/shop/server.py").unwrap().mounts, [format!("{folder}:{folder}")]);
    site.write("shop/plain.py", "print()");
    assert!(
        site.line("uv run SITE/shop/plain.py")
            .unwrap_err()
            .contains("neither a project's folder nor packages")
    );
}

#[test]
fn a_script_of_nodes_has_the_folder_of_its_packages() {
    let site = Site::new();
    site.write("home/mono/package.json", "{}");
    site.write("home/mono/node_modules/x/index.js", "");
    site.write("home/mono/packages/mcp/package.json", "{}");
    let folder = |path: &str| {
        let path = site.path(path).display().to_string();
        vec![format!("{path}:{path}")]
    };
    let mounts = |line: &str| site.line(line).unwrap().mounts;
    assert_eq!(mounts("npx tsx SITE/home/mono/packages/mcp/src/index.ts"), folder("home/mono"));
    assert_eq!(mounts("node SITE/home/mono/packages/mcp/tools/deep/run.js"), folder("home/mono"));
    let notes = site.line("node SITE/home/mono/packages/mcp/tools/deep/run.js").unwrap().notes;
    assert!(notes[0].contains(&format!("only `{}`", site.path("home/mono").display())), "{notes:?}");
    // Its own folder has them, too.
    site.write("home/mono/packages/mcp/node_modules/y/index.js", "");
    assert_eq!(
        mounts("node SITE/home/mono/packages/mcp/tools/deep/run.js"),
        folder("home/mono/packages/mcp")
    );
    // A home folder is nobody's project.
    site.write("home/package.json", "{}");
    assert_eq!(mounts("node SITE/home/scripts/run.js"), folder("home/scripts"));
}

#[test]
fn a_runner_is_not_the_package_that_brings_it() {
    let site = Site::new();
    for (name, bin) in [
        ("npm", r#"{ "npm": "bin/npm-cli.js", "npx": "bin/npx-cli.js" }"#),
        ("pnpm", r#"{ "pnpm": "bin/pnpm.cjs" }"#),
        ("bun", r#"{ "bun": "bin/bun.exe", "bunx": "bin/bunx.exe" }"#),
        ("deno", r#"{ "deno": "bin.cjs" }"#),
    ] {
        let manifest = format!(r#"{{ "name": "{name}", "version": "1.2.3", "bin": {bin} }}"#);
        site.write(&format!("lib/node_modules/{name}/package.json"), &manifest);
        let programs: serde_json::Value = serde_json::from_str(bin).unwrap();
        for (program, file) in programs.as_object().unwrap() {
            let file = site.write(
                &format!("lib/node_modules/{name}/{}", file.as_str().unwrap()),
                "#!/usr/bin/env node\n",
            );
            site.link(&format!("bin/{program}"), &file);
        }
    }
    let tool = "home/.local/share/uv/tools/pipx";
    let text = format!("#!{}\nx\n", site.path(&format!("{tool}/bin/python")).display());
    let script = site.write(&format!("{tool}/bin/pipx"), &text);
    site.distribution(&format!("{tool}/lib/python3.12/site-packages"), "pipx", "pipx");
    site.link("home/.local/bin/pipx", &script);
    for line in [
        "npx --prefix /x foo",
        "npx -c 'foo --x'",
        "npx ./local",
        "npx -y github:o/r",
        "npm run mcp",
        "SITE/bin/npx ./local",
        "pnpm run mcp",
        "bun run mcp",
        "bunx ./local",
        "deno task mcp",
        "pipx install foo",
    ] {
        let own = runner::parse(&shlex::split(line).unwrap()).unwrap_err().to_string();
        assert_eq!(site.line(line).map(|parsed| parsed.program).unwrap_err(), own, "{line}");
    }
    assert!(site.line("pipx install foo").unwrap_err().contains("`pipx run PACKAGE`"));
}

#[test]
fn a_whole_line_as_the_command_is_called_that_and_shows_none_of_its_words() {
    let site = Site::new();
    for command in [
        "npx -y mcp-remote https://h/v1/tvly-FAKE",
        "docker run -i --rm -e KEY=tvly-FAKE some/img",
        "/usr/bin/npx -y mcp-remote https://h/v1/tvly-FAKE",
        "/usr/bin/docker run h/tvly-FAKE",
    ] {
        let places = Places { home: None, lookup: &|_| None };
        let why = of_line(&[command.to_owned()], places).unwrap_err();
        assert!(why.contains("its `command`") && !why.to_lowercase().contains("fake"), "{why}");
        assert!(site.line(&shlex::try_join([command]).unwrap()).is_err());
    }
    // What is known to be no server's start keeps its own words.
    assert!(site.line("go run .").unwrap_err().contains("needs an image of its own"));
}

#[test]
fn a_script_in_an_environment_has_the_packages_of_that() {
    let site = Site::new();
    site.write("shop/server.py", "import mcp\n");
    site.write("shop/.venv/pyvenv.cfg", "home = /usr/bin\n");
    site.write("shop/.venv/bin/python", "");
    let line = "SITE/shop/.venv/bin/python -u SITE/shop/server.py --x";
    let folder = site.path("shop").display().to_string();
    // As Python makes it.
    fs::create_dir(site.path("shop/.venv/lib")).unwrap();
    site.link("shop/.venv/lib64", &site.path("shop/.venv/lib"));
    // There is nothing in it.
    let parsed = site.line(line).unwrap();
    assert!(matches!(parsed.program, Program::Script { .. }), "{parsed:?}");
    // Somebody has installed a package, and that another.
    let packages = "shop/.venv/lib/python3.12/site-packages";
    site.distribution(packages, "pip", "pip");
    site.distribution(packages, "mcp", "mcp");
    site.distribution(packages, "httpx-sse", "x");
    let why = site.line(line).unwrap_err();
    assert!(
        why.contains("has packages that no container has")
            && why.contains(&format!("`uv run --with PACKAGE {folder}/server.py`")),
        "{why}"
    );
    site.write(&format!("{packages}/mcp-1.2.3.dist-info/REQUESTED"), "");
    assert_eq!(site.words(line), format!("uvx --from mcp==1.2.3 python {folder}/server.py --x"));
    let notes = site.line(line).unwrap().notes.join("\n");
    assert!(notes.contains("of this machine's environment, at their versions: `mcp`;"), "{notes}");
    // A project says itself what it needs.
    site.write("shop/pyproject.toml", "[project]");
    assert_eq!(site.words(line), format!("uv --directory {folder} run python {folder}/server.py --x"));
    // Another's environment, and the system's own Python.
    site.write("plain/x.py", "");
    let words = site.words("SITE/shop/.venv/bin/python SITE/plain/x.py");
    assert_eq!(words, format!("uv --directory {folder} run python {}/x.py", site.path("plain").display()));
    assert!(matches!(site.line("/usr/bin/python3 SITE/plain/x.py").unwrap().program, Program::Script { .. }));
}
