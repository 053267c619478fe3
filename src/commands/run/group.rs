//! Several servers behind one entry, or one whose lists are answered before it runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::members::{Making, Member, Members};
use super::notices::Notices;
use super::{Config, Home, Redactor, RunArgs, StderrSink, begin, living, open_trace, options, starts, stdio};
use crate::backend::docker::peers::Peers;
use crate::backend::plan::key;
use crate::backend::{Backend, Ready};
use crate::catalogue::pages::Kind;
use crate::catalogue::{Accepted, Catalogue, Kept, Key, Told};
use crate::config::{Profile, Server};
use crate::dock::owner::new_session;
use crate::dock::spec::Spec;
use crate::failure::{Code, Failure};
use crate::observe::audit::Audit;
use crate::rpc::raw::Raw;
use crate::session;
use crate::session::client::identity::Client;
use crate::session::lane::outcome::Over;
use crate::session::mux::{self, Asking, Group, LanePipe, Recalled};
use crate::session::options::Options;
use crate::values::full_name::room;
use crate::values::{self, Definitions, Start};

/// Whether the arguments name several servers, or one that needs the multiplexer.
pub(super) fn is_wanted(args: &RunArgs, config: &Config) -> bool {
    let alone = || {
        let server = args.server().and_then(|name| config.servers.get(name))?;
        let server = server.clone().with_overrides(&args.settings.0);
        let settings = &server.settings;
        let needs_it = settings.start(false) == Start::FirstCall
            || settings.flatten_pages
            || settings.definitions == Definitions::Hold;
        Some(needs_it)
    };
    !args.dry_run && (args.is_shared() || (args.command.is_empty() && alone().unwrap_or(false)))
}

pub(super) async fn run<B: Backend>(
    args: &RunArgs,
    config: &Config,
    home: &Home,
    stderr: &StderrSink,
    backend: &B,
) -> anyhow::Result<ExitCode> {
    let (profile, is_shared) = match chosen(args, config) {
        Ok(profile) => (profile, args.is_shared()),
        Err(failure) => return super::refuse(failure, stderr).await,
    };
    let base = options(stderr)?;
    let servers = match servers(&profile, args, config) {
        Ok(servers) => servers,
        Err(failure) => return super::refuse(failure, stderr).await,
    };
    let redactor = Redactor::new([]);
    let trace = match open_trace(args, redactor.clone(), stderr) {
        Ok(trace) => trace,
        Err(failure) => return super::refuse(failure, stderr).await,
    };
    let is_here = servers.iter().any(|server| server.settings.backend == values::Backend::Docker);
    if is_here && let Some(warning) = crate::dind::warning(config, home) {
        tracing::warn!("{warning}");
    }
    let making = Making {
        args,
        home,
        is_shared,
        peers: profile.peers.then(|| Peers::new(&profile.name, &servers)),
        options: Options {
            redactor,
            trace: trace.clone(),
            interactive: false,
            hangup: stdio::Hangup::default(),
            ..base.clone()
        },
        backend,
    };
    let members: Vec<Member<_>> = servers.into_iter().map(|server| making.member(config, server)).collect();
    let members = Rc::new(RefCell::new(members));
    let (tell, changes) = mpsc::channel(1);
    let catalogue = Catalogue::open(&home.state);
    let unique = || new_session().map_err(|error| Failure::new(Code::Internal, &error, "try again"));
    let group = Group {
        members: members.borrow().iter().map(Member::options).collect(),
        room: is_shared.then(|| room(args.entry.as_deref())),
        tools: profile.tools.clone(),
        deny_tools: profile.deny_tools.clone(),
        known: recall(&catalogue, &members),
        keep: keep(&catalogue, &members),
        changes,
        held: held_back(&members, home),
        session: unique()?,
        // Twice as long as an id, for it must not be guessed.
        secret: format!("{}{}", unique()?, unique()?),
        max_line: members
            .borrow()
            .iter()
            .map(|member| member.server.settings.max_line)
            .max()
            .unwrap_or_default(),
        stop_grace: members
            .borrow()
            .iter()
            .map(|member| member.server.settings.stop_grace)
            .max()
            .unwrap_or_default(),
        hangup: base.hangup.clone(),
        stop: base.stop.clone(),
    };
    let lane = |member: usize, pipe: LanePipe| lane(&members.borrow()[member], pipe);
    let session = Box::pin(mux::run(stdio::input(), stdio::output(), group, lane));
    let over = match &args.profile {
        // What is in a network of peers was made for these servers.
        Some(_) if making.peers.is_none() => tokio::select! {
            over = session => over,
            never = living::watch(&making, config, profile, &members, tell) => match never {},
        },
        _ => session.await,
    };
    if let Some(peers) = &making.peers {
        peers.close().await;
    }
    trace.flush().await;
    Ok(ExitCode::from(over.exit_code()))
}

fn chosen(args: &RunArgs, config: &Config) -> Result<Profile, Failure> {
    Ok(match &args.profile {
        Some(name) => config.profile(name)?.clone(),
        None => Profile::of_names(&args.servers, &config.servers)?,
    })
}

/// The servers of the session, with the options over them.
fn servers(profile: &Profile, args: &RunArgs, config: &Config) -> Result<Vec<Server>, Failure> {
    let overrides = &args.settings.0;
    let server = |name| Ok::<_, Failure>(config.server(name)?.with_overrides(overrides));
    let servers = profile.servers.iter().map(|name| server(name)).collect::<Result<_, _>>()?;
    Ok(profile.of_session(servers, overrides.says("network"))?)
}

/// A lane: today's session of one server, over a pipe in memory.
fn lane<R: Ready>(member: &Member<R>, pipe: LanePipe) -> impl Future<Output = Over> + use<R> {
    let LanePipe { from_mux, to_mux, stop, is_replaced, is_lazy } = pipe;
    let stderr = member.options.stderr.apart();
    let mut options = Options { stderr, stop, is_replaced, ..member.options.clone() };
    let mut prepared = member.prepared.clone();
    if let Ok(ready) = &mut prepared {
        let plan = ready.plan_mut();
        plan.held = Arc::default();
        // Each time of a lane is a session with a history of its own.
        match new_session() {
            Ok(session) => plan.spec.session = session,
            Err(error) => tracing::warn!("{error}"),
        }
        options.trace = options.trace.of_lane(&options.server, &plan.spec.session);
        begin(ready, &mut options, is_lazy);
    }
    let starts = starts(prepared, options.trace.clone());
    let trace = options.trace.clone();
    async move {
        let over = Box::pin(session::run(from_mux, to_mux, options, starts)).await;
        // Its history is a file of its own.
        trace.flush().await;
        over
    }
}

/// Notes calls of tools that were held back.
fn held_back<R: Ready>(members: &Members<R>, home: &Home) -> mux::Held {
    let (members, state) = (Rc::clone(members), home.state.clone());
    let mut audits: BTreeMap<usize, Audit> = BTreeMap::new();
    Box::new(move |member, tool| {
        let audit = audits.entry(member).or_insert_with(|| {
            let members = members.borrow();
            let session =
                members[member].prepared.as_ref().map_or("", |ready| ready.plan().spec.session.as_str());
            let redactor = members[member].options.redactor.clone();
            Audit::new(&state, session, &members[member].server.name, redactor)
        });
        audit.event("definition held", &format!("the tool `{tool}`"));
    })
}

/// What a member's answers depend on, but for the client.
struct Of {
    spec: Spec,
    client: Option<Client>,
    ran: Arc<Mutex<String>>,
}

impl Of {
    fn server(&self) -> &str {
        &self.spec.server.name
    }

    fn definitions(&self) -> Definitions {
        self.spec.server.settings.definitions
    }

    fn member<R: Ready>(members: &Members<R>, member: usize) -> Option<Self> {
        let members = members.borrow();
        let plan = members[member].prepared.as_ref().ok()?.plan();
        Some(Self { spec: plan.spec.clone(), client: plan.client.clone(), ran: plan.ran.clone() })
    }

    fn key(&self, asking: &Asking<'_>) -> Key {
        let client = self.client.clone().unwrap_or_else(|| Client::from_message(asking.client));
        let mut spec = self.spec.clone();
        client.as_str().clone_into(&mut spec.client);
        key(&spec, client.as_str(), asking.revision, asking.capabilities)
    }
}

fn recall<R: Ready>(catalogue: &Catalogue, members: &Members<R>) -> mux::Known {
    let (catalogue, members) = (catalogue.clone(), Rc::clone(members));
    Box::new(move |asking| {
        let of = Of::member(&members, asking.member)?;
        let key = of.key(asking);
        let told = catalogue.find(&key)?.told;
        let held = held(&catalogue, &of, &key, &told);
        Some(Recalled { told, held })
    })
}

/// The tools that a person has to accept first.
fn held(catalogue: &Catalogue, of: &Of, key: &Key, told: &Told) -> Vec<String> {
    if of.definitions() != Definitions::Hold {
        return Vec::new();
    }
    catalogue
        .accepted(key, &told.image)
        .as_ref()
        .map(|accepted: &Accepted| accepted.refused(told))
        .unwrap_or_default()
}

fn keep<R: Ready>(catalogue: &Catalogue, members: &Members<R>) -> mux::Keep {
    let (catalogue, members) = (catalogue.clone(), Rc::clone(members));
    let mut notices = Notices::default();
    Box::new(move |asking, mut told, is_whole| {
        let Some(of) = Of::member(&members, asking.member) else { return Vec::new() };
        told.image.clone_from(&of.ran.lock().unwrap_or_else(PoisonError::into_inner));
        let key = of.key(asking);
        if !is_whole {
            return held(&catalogue, &of, &key, &told);
        }
        match catalogue.keep(&key, &told) {
            Ok(Kept::Changed { changes, is_varying }) if of.definitions() != Definitions::Varying => {
                let server = of.server();
                // The hint first: of what follows the rest is not told.
                let hint = is_varying.then(|| {
                    format!(
                        "the lists of `{server}` go to and fro; set `definitions = \"varying\"` in [servers.{server}]"
                    )
                });
                let changes = changes
                    .iter()
                    .map(|change| format!("the server `{server}` has changed its definitions: {change}"));
                let lines: Vec<String> = hint.into_iter().chain(changes).collect();
                for line in notices.news(asking.member, lines) {
                    tracing::warn!("{line}");
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!("cannot keep what `{}` told: {error}", of.server());
                // Nobody can say what was accepted.
                if of.definitions() == Definitions::Hold {
                    let tools = told.tools.iter().flat_map(|list| &list.items);
                    return tools
                        .filter_map(|tool| Kind::Tools.name(Raw::parse(std::str::from_utf8(tool).ok()?)?))
                        .collect();
                }
            }
        }
        held(&catalogue, &of, &key, &told)
    })
}
