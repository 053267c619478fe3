//! The arguments of `berth kubernetes`, which `berth-kubernetes` carries out.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Clone, Args)]
pub struct KubernetesArgs {
    #[command(subcommand)]
    pub command: KubernetesCommand,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KubernetesCommand {
    /// Make what sessions need in the namespace of `[kubernetes]`: roles, limits, network policies and the keeper.
    Up {
        /// Only print it, for `kubectl apply --server-side -f -`; needs no cluster.
        #[arg(long)]
        print: bool,

        /// Also set what somebody else has changed.
        #[arg(long)]
        force: bool,
    },
    /// Take back what `up` has made, and nothing else.
    Down {
        /// End active sessions.
        #[arg(long)]
        force: bool,

        /// Remove the claims of `volumes` too, and what they hold.
        #[arg(long)]
        volumes: bool,
    },
    /// Examine the cluster: rights, the keeper, and whether network policies hold.
    Doctor {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,

        /// Only look: make no pod to try the network policies in.
        #[arg(long)]
        quick: bool,

        /// An address of the world that pods try to reach.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "1.1.1.1:443")]
        world: SocketAddr,
    },
    /// Tend the pods for a manager, until the end of standard input.
    #[command(hide = true)]
    Tend,
    /// Write the keeper's image, for `docker load`, `ctr images import` or `kind load image-archive`.
    Image {
        /// The image of this very program instead, for agents that run in the cluster. It must be static.
        #[arg(long)]
        agent: bool,

        /// The file to write, instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Copy berth's programs into a folder: what the init container of an agent's pod does.
    Install {
        /// The folder, such as a volume that the agent's container mounts.
        folder: PathBuf,
    },
    /// Write which pod may reach which names, for the forwarder that `up` makes.
    #[command(hide = true)]
    Lists {
        /// A folder with nothing else in it.
        folder: PathBuf,
    },
}
