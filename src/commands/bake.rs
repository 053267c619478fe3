//! `berth bake`: makes the images of packages before their first start.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::variable;
use crate::bake::{Baked, Oven};
use crate::cli::BakeArgs;
use crate::clients::Draft;
use crate::config::{Config, Home, Recipe, Server, edit};
use crate::dind::images::room::{self, Shelf};
use crate::dind::progress::Progress;
use crate::docker_cli::DockerCli;
use crate::failure::{Code, Failure};
use crate::runner::Package;
use anyhow::Context;

pub async fn run(
    args: &BakeArgs,
    config: &Config,
    home: &Home,
    config_file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::stderr();
    let daemon = super::dind_engine(config, home)?;
    let host = config.dind.engine(&variable).ok();
    let cli = DockerCli::from_env(&variable);
    let state = &home.state;
    let oven = Oven { daemon: &daemon, host: host.as_ref(), cli: &cli, progress: &progress, state };
    let (mut failed, shelf) = (None, Shelf::of(config));
    let (packages, images) = chosen(args, config)?;
    let names: Vec<String> = packages.iter().map(|(server, _)| server.name.clone()).collect();
    for server in images {
        make_room(&oven, &shelf, &server.image).await;
        if let Err(failure) = pin_image(config, &server, &oven).await? {
            progress.say(&failure.message());
            failed = failed.or(Some(failure.code));
        }
    }
    for (server, recipe) in packages {
        let recipe =
            if args.pin { Recipe { integrity: None, ..(*recipe).clone() } } else { (*recipe).clone() };
        make_room(&oven, &shelf, &recipe.image()).await;
        match oven.bake(&recipe, args.update).await {
            Ok(baked) => {
                let digest = if baked.integrity.is_empty() { "no digest" } else { &baked.integrity };
                writeln!(
                    std::io::stdout().lock(),
                    "{}: {} {} ({digest}){}",
                    server.name,
                    recipe.package.bare(),
                    baked.version,
                    if baked.was_there { ", baked before" } else { "" },
                )?;
                if args.pin {
                    pin(config, &server, &oven, &recipe, &baked).await?;
                }
            }
            Err(error) => {
                let failure = Failure::from(error);
                progress.say(&failure.message());
                failed = failed.or(Some(failure.code));
            }
        }
    }
    // Whatever stands behind `--` has no name in the configuration.
    if failed.is_none() && args.line.is_empty() {
        super::catalogue::fill::ahead(config, home, config_file, Some(&names), &progress).await;
    }
    Ok(failed.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code.exit_code())))
}

/// Bakes what the configuration's servers need; the failures are told, and the first one's kind is the result.
pub(super) async fn all(config: &Config, home: &Home, progress: &Progress) -> anyhow::Result<Option<Code>> {
    let recipes = config.recipes();
    if recipes.is_empty() {
        return Ok(None);
    }
    let daemon = super::dind_engine(config, home)?;
    let host = config.dind.engine(&variable).ok();
    let cli = DockerCli::from_env(&variable);
    let oven = Oven { daemon: &daemon, host: host.as_ref(), cli: &cli, progress, state: &home.state };
    let (mut failed, shelf) = (None, Shelf::of(config));
    for recipe in recipes {
        make_room(&oven, &shelf, &recipe.image()).await;
        if let Err(error) = oven.bake(&recipe, false).await {
            let failure = Failure::from(error);
            progress.say(&failure.message());
            failed = failed.or(Some(failure.code));
        }
    }
    Ok(failed)
}

/// For an image that is not there yet.
async fn make_room(oven: &Oven<'_>, shelf: &Shelf, image: &str) {
    if shelf.limit.is_some() && matches!(oven.daemon.image(image).await, Ok(None)) {
        room::make(oven.state, oven.daemon, shelf, image, oven.progress).await;
    }
}

/// The servers that the arguments have baked, with their recipes.
///
/// # Errors
/// There is nothing to bake.
pub fn packages(args: &BakeArgs, config: &Config) -> anyhow::Result<Vec<(Server, Arc<Recipe>)>> {
    Ok(chosen(args, config)?.0)
}

/// The servers that are to be baked, with their recipes, and those whose images are to be pinned.
type Chosen = (Vec<(Server, Arc<Recipe>)>, Vec<Server>);

fn chosen(args: &BakeArgs, config: &Config) -> anyhow::Result<Chosen> {
    let from_package = |server: &Server| Some((server.clone(), server.recipe.clone()?));
    let not_one = |name: &str| Failure {
        code: Code::Usage,
        text: format!("`{name}` does not come from a package, so there is nothing to bake"),
        next: Some("its image is loaded by `berth up`".to_owned()),
    };
    if !args.line.is_empty() {
        let (server, _) = config.server_of_line(&args.line)?;
        return Ok((vec![from_package(&server).ok_or_else(|| not_one(&server.name))?], Vec::new()));
    }
    if args.servers.is_empty() {
        let servers: Vec<_> = config.servers.values().filter_map(from_package).collect();
        let is_free = |server: &&Server| args.pin && server.recipe.is_none() && server.digests.is_empty();
        let images = config.servers.values().filter(is_free);
        let images: Vec<_> = images.cloned().collect();
        if servers.is_empty() && images.is_empty() {
            return Err(Failure {
                code: Code::Usage,
                text: "no server of the configuration comes from a package".to_owned(),
                next: Some("give one `npx = \"PACKAGE\"` or `uvx = \"PACKAGE\"`, or type `berth bake -- npx PACKAGE`".to_owned()),
            }
            .into());
        }
        return Ok((servers, images));
    }
    let (mut packages, mut images) = (Vec::new(), Vec::new());
    for name in &args.servers {
        let server = config.server(name)?;
        match from_package(server) {
            Some(package) => packages.push(package),
            None if args.pin => images.push(server.clone()),
            None => return Err(not_one(name).into()),
        }
    }
    Ok((packages, images))
}

/// Writes the digests of a server's image into the configuration, as the image is now.
async fn pin_image(config: &Config, server: &Server, oven: &Oven<'_>) -> anyhow::Result<Result<(), Failure>> {
    let found = async {
        oven.fetch(&server.image).await?;
        let found = oven.daemon.image(&server.image).await?;
        let missing = || crate::dock::LeaseError::NoImage(server.image.clone());
        Ok::<_, Failure>(found.ok_or_else(missing)?.digests())
    };
    let digests = match found.await {
        Ok(digests) => digests,
        Err(failure) => return Ok(Err(failure)),
    };
    let digest = digests.first().map(String::as_str).unwrap_or_default();
    writeln!(std::io::stdout().lock(), "{}: {} ({digest})", server.name, server.image)?;
    if let Some(file) = &config.file {
        edit_file(file, |text| edit::with_digests(text, &server.name, &digests))?;
    }
    Ok(Ok(()))
}

fn edit_file(file: &Path, edited: impl Fn(&str) -> Result<String, String>) -> anyhow::Result<()> {
    let mut draft = Draft::of(file)?;
    draft.after = edited(draft.before())
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("cannot edit `{}`", file.display()))?;
    draft.write(true)?;
    Ok(())
}

/// Writes what was found into the configuration, and gives the image its new name, so that nothing is baked again.
async fn pin(
    config: &Config,
    server: &Server,
    oven: &Oven<'_>,
    recipe: &Recipe,
    baked: &Baked,
) -> anyhow::Result<()> {
    let Some(file) = &config.file else { return Ok(()) };
    let with_args = Package { args: server.args.clone().unwrap_or_default(), ..recipe.package.clone() };
    let Some(pinned) = with_args.pinned(&baked.version) else {
        oven.progress.say(&format!("`{}` has no version that could be pinned", recipe.package.main()));
        return Ok(());
    };
    let name = recipe.of(&pinned).image();
    if name != baked.image {
        oven.daemon.tag(&baked.image, &name).await.map_err(Failure::from)?;
    }
    edit_file(file, |text| edit::with_pinned(text, &server.name, &pinned, &baked.integrity))
}
