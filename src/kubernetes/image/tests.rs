use std::sync::Arc;

use mcp_berth::config::{Bake, Recipe};
use mcp_berth::runner::{Runner, parse_words};
use mcp_berth::values::Pull;

use super::*;
use crate::fake;

fn server(name: &str) -> Server {
    Server::from_image(name.parse().unwrap(), Vec::new(), &fake::settings())
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn image(entrypoint: &str, cmd: &str, user: &str) -> Image {
    let (entrypoint, cmd) = (words(entrypoint), words(cmd));
    Image { entrypoint, cmd, user: user.to_owned(), digest: Some("sha256:0".to_owned()), ..Image::default() }
}

fn baked(integrity: Option<&str>) -> Server {
    let package = parse_words(Runner::Npx, &words("@a/b@1")).unwrap();
    let recipe =
        Recipe { integrity: integrity.map(str::to_owned), ..Recipe::new(&package, &Bake::default()) };
    Server { image: recipe.image(), recipe: Some(Arc::new(recipe)), ..server("i") }
}

#[test]
fn arguments_stand_in_the_place_of_cmd_and_a_command_in_the_place_of_both() {
    let runs = |change: fn(&mut Server), image: Image| {
        let mut server = server("i");
        change(&mut server);
        image
            .complete(&mut server)
            .map(|()| [server.command, server.args].into_iter().flatten().flatten().collect())
    };
    let told = |line: &str| Ok::<Vec<String>, Failure>(words(line));
    assert_eq!(runs(|_| (), image("node x.js", "-a b", "")), told("node x.js -a b"));
    assert_eq!(
        runs(|server| server.args = Some(words("-c")), image("node x.js", "-a b", "")),
        told("node x.js -c")
    );
    assert_eq!(runs(|server| server.args = Some(Vec::new()), image("node", "-a b", "")), told("node"));
    assert_eq!(runs(|_| (), image("", "sh", "")), told("sh"));
    let own = |server: &mut Server| (server.command, server.args) = (Some(words("own")), Some(words("-x")));
    assert_eq!(runs(own, image("node x.js", "-a", "")), told("own -x"));
    let failure = runs(|_| (), image("", "", "")).unwrap_err();
    assert!(failure.text.contains("neither ENTRYPOINT nor CMD") && failure.next.is_some(), "{failure}");
}

#[test]
fn a_numbered_user_of_the_image_is_the_pods_too() {
    let user = |of_image: &str, of_server: Option<&str>| {
        let mut server = server("i");
        server.settings.user = of_server.map(str::to_owned);
        image("x", "", of_image).complete(&mut server).unwrap();
        server.settings.user
    };
    assert_eq!(user("1000", None).as_deref(), Some("1000"));
    assert_eq!(user("1000:1001", None).as_deref(), Some("1000:1001"));
    for nodes_own in ["node", "0", "0:0", "", "1000:staff"] {
        assert_eq!(user(nodes_own, None), None, "{nodes_own}");
    }
    assert_eq!(user("1000", Some("7")).as_deref(), Some("7"));
}

#[test]
fn only_what_is_left_to_the_image_is_asked_for() {
    let asked = |change: fn(&mut Server)| {
        let mut server = server("i");
        change(&mut server);
        is_asked_for(&server)
    };
    assert!(asked(|_| ()) && asked(|server| server.args = Some(Vec::new())));
    assert!(!asked(|server| server.command = Some(words("x"))));
    assert!(is_asked_for(&baked(None)), "its image alone knows the program");
    let with_program = |integrity| {
        let mut server = baked(integrity);
        let recipe = server.recipe.as_ref().map(|recipe| (**recipe).clone()).unwrap();
        let package = mcp_berth::runner::Package { program: Some("b".to_owned()), ..recipe.package.clone() };
        server.recipe = Some(Arc::new(Recipe { package, ..recipe }));
        is_asked_for(&server)
    };
    assert!(!with_program(None) && with_program(Some("sha512-x")));
}

#[test]
fn baked_images_are_in_the_registry_and_pinned_ones_come_by_their_digest() {
    let mut kubernetes = Kubernetes::default();
    let pinned = Server { digests: words("sha256:1 sha256:2"), ..server("r/i:1") };
    let name = baked(None).image;
    assert_eq!(reference(&baked(None), &kubernetes), name, "nodes may have it otherwise");
    assert_eq!(reference(&pinned, &kubernetes), "r/i:1@sha256:1");
    kubernetes.registry = Some("r.example/x/".to_owned());
    assert_eq!(reference(&baked(None), &kubernetes), format!("r.example/x/{name}"));
    assert_eq!(reference(&server("i"), &kubernetes), "i");
}

#[test]
fn a_pinned_package_runs_as_it_was_looked_at() {
    let complete = |pinned, found: &str| {
        let mut server = baked(pinned);
        let of = Image { integrity: found.to_owned(), ..image("/p", "", "") };
        of.complete(&mut server).map(|()| server.image)
    };
    let name = baked(None).image;
    assert_eq!(complete(None, "sha512-y").unwrap(), name);
    assert_eq!(complete(Some("sha512-x"), "sha512-x").unwrap(), format!("{name}@sha256:0"));
    let failure = complete(Some("sha512-x"), "sha512-y").unwrap_err();
    assert!(failure.text.contains("has changed"), "{failure}");
}

#[test]
fn an_answer_is_kept_for_its_name_and_grows_old() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Kept::read(folder.path(), "i"), None);
    let kept = Kept::new("i", Some("sha256:9".to_owned()), image("x", "y", "1"));
    kept.write(folder.path()).unwrap();
    assert_eq!(Kept::read(folder.path(), "i").as_ref(), Some(&kept));
    assert_eq!(Kept::read(folder.path(), "j"), None);
    let file =
        std::fs::read_dir(folder.path().join("cluster-images")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, "{").unwrap();
    assert_eq!(Kept::read(folder.path(), "i"), None, "an odd file is none");

    let old = |name: &str, means: Option<&str>, pull, age| {
        let mut server = server(name);
        server.settings.pull = pull;
        let kept = Kept::new(name, means.map(str::to_owned), Image::default());
        is_old(&kept, &server, kept.asked + age)
    };
    let (minutes, days) = (Duration::from_mins(2), Duration::from_hours(48));
    let (registry, never, always) = (Some("sha256:9"), Pull::default(), Pull::Always);
    assert_eq!([minutes, days].map(|age| old("i", registry, never, age)), [false, true]);
    assert!(old("i", None, never, minutes) && old("i", registry, always, minutes));
    assert!(!old("i@sha256:9", registry, never, days), "that is one and the same for ever");
}

#[tokio::test]
async fn what_is_kept_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let images = Images { state: folder.path().to_owned(), cli: DockerCli::default(), engine: None };
    // Nobody listens there.
    let server = server("127.0.0.1:9/i");
    let failure = images.find(&server).await.unwrap_err();
    assert!(failure.text.contains("its registry cannot be asked"), "{failure}");
    let known = image("x", "", "");
    Kept::new(&server.image, Some("sha256:9".to_owned()), known.clone()).write(folder.path()).unwrap();
    assert_eq!(images.find(&server).await.unwrap(), Some(known.clone()));
    // An old answer is better than none.
    let mut newest = server.clone();
    newest.settings.pull = Pull::Always;
    let mut kept = Kept::new(&server.image, None, known.clone());
    kept.asked = SystemTime::UNIX_EPOCH;
    kept.write(folder.path()).unwrap();
    assert_eq!(images.find(&newest).await.unwrap(), Some(known));
}

#[test]
fn nobody_who_tells_is_told_by_what_mends_it() {
    let told = |trouble| cannot_tell(&server("r.example/i:1"), &trouble);
    let failure = told(Trouble::Absent);
    assert!(
        failure.text.contains("has no `command`") && failure.text.contains("`r.example/i:1`"),
        "{failure}"
    );
    assert!(failure.next.unwrap().contains("docker image inspect r.example/i:1"));
    assert!(told(Trouble::Denied).next.unwrap().starts_with("type `docker login r.example`, or set"));
    let codes = [Trouble::Absent, Trouble::Other("x".to_owned())].map(|trouble| told(trouble).code);
    assert_eq!(codes, [Code::Configuration, Code::Unavailable]);
    let of_package = cannot_tell(&baked(None), &Trouble::Absent);
    assert_eq!(of_package.next.as_deref(), Some("type `berth bake --push i`"));
}
