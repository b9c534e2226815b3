//! A container: a network namespace as a runtime makes it, attached by a CNI plugin.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::cni::{self, Call, Verb};
use crate::error::{LabError, lock};
use crate::host::Host;
use crate::need::Built;
use crate::serve::{Responder, Served};

const INTERFACE: &str = "eth0";

/// A container. Cheap to clone; calls on clones may run at the same time.
#[derive(Debug, Clone)]
pub struct Container {
    host: Host,
    inside: Host,
    args: Option<String>,
    attachments: Arc<Mutex<BTreeMap<String, Attachment>>>,
}

/// What the plugin was asked and has answered for one interface: what the oracle holds it to.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    /// The result of the ADD.
    pub(crate) result: Value,
    /// A DEL has succeeded since.
    pub(crate) deleted: bool,
}

impl Container {
    pub(crate) fn create(host: &Host, name: &str) -> Result<Self, LabError> {
        let inside = Host::create_bare(&format!("{}-{name}", host.name()))?;
        inside.ip("link set lo up")?;
        let attachments = Arc::default();
        Ok(Self {
            host: host.clone(),
            inside,
            args: None,
            attachments,
        })
    }

    /// The same container, its later calls with these `CNI_ARGS`.
    #[must_use]
    pub fn with_args(mut self, args: &str) -> Self {
        self.args = Some(args.to_owned());
        self
    }

    /// The container's id: unique in the lab, and the name of its namespace.
    #[must_use]
    pub fn id(&self) -> &str {
        self.inside.name()
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The inside of the container, where commands run as on a host.
    #[must_use]
    pub fn inside(&self) -> &Host {
        &self.inside
    }

    /// Executes ADD for `eth0` and returns the result.
    pub fn cni_add(&self, configuration: &Value) -> Result<Value, LabError> {
        let result = self.call(Verb::Add, configuration)?;
        let attachment = Attachment {
            result: result.clone(),
            deleted: false,
        };
        lock(&self.attachments).insert(INTERFACE.to_owned(), attachment);
        Ok(result)
    }

    /// Executes DEL for `eth0`, with the cached result of the ADD as runtimes do.
    pub fn cni_del(&self, configuration: &Value) -> Result<(), LabError> {
        self.call(Verb::Del, &self.with_previous(configuration))?;
        if let Some(attachment) = lock(&self.attachments).get_mut(INTERFACE) {
            attachment.deleted = true;
        }
        Ok(())
    }

    /// Executes CHECK for `eth0`, with the cached result of the ADD as the specification demands.
    pub fn cni_check(&self, configuration: &Value) -> Result<(), LabError> {
        self.call(Verb::Check, &self.with_previous(configuration))
            .map(drop)
    }

    /// Takes the namespace away without a DEL, as a crash of the runtime does.
    pub fn vanish(&self) -> Result<(), LabError> {
        self.inside.remove()
    }

    /// The addresses of global scope that the container's kernel holds, loopback excepted.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, LabError> {
        if !self.inside.exists() {
            return Ok(Vec::new());
        }
        let answer = self.inside.ip_json("address show scope global")?;
        let interfaces = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(interfaces
            .iter()
            .filter(|interface| interface["ifname"] != "lo")
            .flat_map(|interface| interface["addr_info"].as_array().into_iter().flatten())
            .filter_map(|info| info["local"].as_str()?.parse().ok())
            .collect())
    }

    /// Pings once from inside.
    pub fn ping(&self, to: IpAddr) -> Result<(), LabError> {
        self.inside.ping(to)
    }

    /// Fetches from a responder from inside, and returns who answered and whom it saw.
    pub fn tcp(&self, address: IpAddr, port: u16) -> Result<Served, LabError> {
        self.inside.fetch(address, port)
    }

    /// Answers on a port inside until the responder is dropped.
    pub fn serve(&self, port: u16) -> Result<Responder, LabError> {
        self.inside.serve(port)
    }

    pub(crate) fn attachments(&self) -> BTreeMap<String, Attachment> {
        lock(&self.attachments).clone()
    }

    /// Enters an attachment into the books, for tests that make one by hand.
    pub fn attached_by_hand(&self, result: Value, deleted: bool) {
        let attachment = Attachment { result, deleted };
        lock(&self.attachments).insert(INTERFACE.to_owned(), attachment);
    }

    fn with_previous(&self, configuration: &Value) -> Value {
        let mut configuration = configuration.clone();
        if let Some(attachment) = lock(&self.attachments).get(INTERFACE)
            && let Some(fields) = configuration.as_object_mut()
        {
            fields.insert("prevResult".to_owned(), attachment.result.clone());
        }
        configuration
    }

    fn call(&self, verb: Verb, configuration: &Value) -> Result<Value, LabError> {
        // A DEL whose namespace is gone comes without it, as from a runtime.
        let namespace = self.inside.exists().then(|| self.inside.namespace_path());
        let call = Call {
            container: self.id(),
            namespace,
            interface: Some(INTERFACE),
            args: self.args.as_deref(),
        };
        cni::execute(&self.host, &plugin()?, verb, &call, configuration)
    }
}

impl Host {
    /// Executes STATUS of the CNI plugin.
    pub fn cni_status(&self, configuration: &Value) -> Result<(), LabError> {
        cni::execute(
            self,
            &plugin()?,
            Verb::Status,
            &Call::default(),
            configuration,
        )
        .map(drop)
    }

    /// Executes GC of the CNI plugin; the configuration lists `cni.dev/valid-attachments`.
    pub fn cni_gc(&self, configuration: &Value) -> Result<(), LabError> {
        cni::execute(self, &plugin()?, Verb::Gc, &Call::default(), configuration).map(drop)
    }

    /// Executes VERSION of the CNI plugin.
    pub fn cni_version(&self, configuration: &Value) -> Result<Value, LabError> {
        cni::execute(
            self,
            &plugin()?,
            Verb::Version,
            &Call::default(),
            configuration,
        )
    }
}

fn plugin() -> Result<PathBuf, LabError> {
    Built::Cni.path().map(|path| {
        path.canonicalize()
            .unwrap_or_else(|_| Path::new(&path).into())
    })
}
