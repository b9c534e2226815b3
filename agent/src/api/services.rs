//! `/v1/services`: those of the fabric, and those of this host with what is wanted of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};
use wayleave_discovery::{
    catalog::{Catalog, Standing},
    codec::State as ServiceState,
    health::Health,
    names::{InstanceId, ServiceId},
    registry::{Admin, Instance, Origin, RegisterError, Registered, Registration},
};

use super::{ApiError, Code, NamesContext, OwnerContext, endpoints::PortView, page_limit};
use crate::registry::RequestError;

/// Instances counted before the catalog is given back for others to change it: at least one
/// service, however many it has.
const STRETCH: usize = 4_096;
/// The longest reason for a maintenance, in characters.
const LONGEST_REASON: usize = 200;

/// Services of the fabric: one page, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceList {
    /// The catalog's index when the page began; see `/v1/watch`.
    pub index: u64,
    /// The services.
    pub services: Vec<ServiceCounts>,
    /// What the catalog holds as a whole.
    pub catalog: CatalogCounts,
    /// The `after` of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A service of the fabric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCounts {
    /// `web.default`.
    pub service: String,
    /// Its instances, in whatever state.
    pub instances: usize,
    /// Of these, ready.
    pub ready: usize,
    /// Draining.
    pub draining: usize,
    /// Not heard of since a session ended.
    pub stale: usize,
    /// In maintenance or failing: never answered with.
    pub out: usize,
    /// Nodes that have one.
    pub nodes: usize,
    /// Ports any of them has.
    pub ports: Vec<PortView>,
}

/// How much the catalog holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogCounts {
    /// Endpoints, by address and node.
    pub endpoints: usize,
    /// Those names are answered with.
    pub believed: usize,
    /// Of these, stale.
    pub stale: usize,
    /// Those that wait for their node's carrier.
    pub without_carrier: usize,
    /// Those that do not say whose they are.
    pub without_key: usize,
    /// Those whose record cannot be used.
    pub broken: usize,
}

/// Services of this host, by instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalServices {
    /// This host.
    pub node: String,
    /// The registrations.
    pub instances: Vec<LocalService>,
}

/// A service of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalService {
    /// What tells it from all others of this host.
    pub instance: InstanceId,
    /// `web.default`.
    pub service: String,
    /// As registered: what `PUT /v1/services` takes.
    pub registration: Registration,
    /// Who registered it: `"api"`, `{"file": PATH}` or `{"container": ID}`.
    pub origin: Origin,
    /// What the operator wants: `"normal"`, `"draining"` or `{"maintenance": REASON}`.
    pub admin: Admin,
    /// Address by address.
    pub addresses: Vec<LocalAddress>,
}

/// A service of this host at one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// What the checks say: `passing`, `starting` or `failing`.
    pub health: Health,
    /// What it is announced as; absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<ServiceState>,
}

/// What a registration did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDone {
    /// The instance.
    pub instance: InstanceId,
    /// `created`, `replaced` or `unchanged`.
    pub outcome: String,
}

/// What may come with a maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// Why, for whoever finds it; at most 200 characters.
    pub reason: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServicePage {
    after: Option<String>,
    limit: Option<u32>,
}

impl LocalService {
    fn new(instance: Instance) -> Self {
        let addresses = instance
            .health
            .iter()
            .map(|(address, health)| LocalAddress {
                address: *address,
                health: *health,
                announced: instance.state(*address),
            })
            .collect();
        let Instance {
            registration,
            origin,
            admin,
            ..
        } = instance;
        Self {
            instance: registration.instance.clone(),
            service: ServiceId::new(&registration.name, &registration.namespace).to_string(),
            registration,
            origin,
            admin,
            addresses,
        }
    }
}

impl ServiceCounts {
    fn count(catalog: &Catalog, service: &ServiceId) -> Self {
        let mut counts = Self {
            service: service.to_string(),
            instances: 0,
            ready: 0,
            draining: 0,
            stale: 0,
            out: 0,
            nodes: 0,
            ports: Vec::new(),
        };
        let (mut nodes, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for instance in catalog.resolve(service.as_str()) {
            counts.instances += 1;
            *match instance.standing {
                Standing::Ready => &mut counts.ready,
                Standing::Draining => &mut counts.draining,
                Standing::StaleReady | Standing::StaleDraining => &mut counts.stale,
                Standing::Out => &mut counts.out,
            } += 1;
            nodes.insert(instance.key);
            ports.extend(instance.service.ports.iter().map(PortView::new));
        }
        counts.nodes = nodes.len();
        counts.ports = ports.into_iter().collect();
        counts
    }
}

impl CatalogCounts {
    fn of(catalog: &Catalog) -> Self {
        let counts = catalog.counts();
        Self {
            endpoints: counts.paths,
            believed: counts.believed,
            stale: counts.stale,
            without_carrier: counts.without_carrier,
            without_key: counts.without_key,
            broken: counts.broken,
        }
    }
}

pub(super) fn routes() -> Router<OwnerContext> {
    Router::new()
        .route("/v1/services", get(list).put(register))
        .route("/v1/services/local", get(local))
        .route("/v1/services/{instance}", delete(deregister))
        .route("/v1/services/{instance}/drain", post(drain))
        .route("/v1/services/{instance}/undrain", post(undrain))
        .route("/v1/services/{instance}/maintenance", post(maintenance))
}

async fn list(
    State(context): State<OwnerContext>,
    RawQuery(query): RawQuery,
) -> Result<Json<ServiceList>, ApiError> {
    let names = context.running_names()?;
    let page: ServicePage = super::parameters(query.as_deref())?;
    let limit = page_limit(page.limit)?;
    let (index, catalog) = {
        let catalog = names.read();
        (catalog.index(), CatalogCounts::of(&catalog))
    };
    let mut list = ServiceList {
        index,
        services: Vec::new(),
        catalog,
        next: None,
    };
    let mut after = page.after;
    loop {
        let at_end = stretch(names, &mut after, limit, &mut list);
        if at_end || list.next.is_some() {
            return Ok(Json(list));
        }
        tokio::task::yield_now().await;
    }
}

/// Counts some services under one lock; true at the end of them all.
fn stretch(
    names: &NamesContext,
    after: &mut Option<String>,
    limit: usize,
    list: &mut ServiceList,
) -> bool {
    let catalog = names.read();
    let mut counted = 0;
    let begin = after.clone();
    let rest = catalog
        .services()
        .skip_while(|id| begin.as_deref().is_some_and(|begin| id.as_str() <= begin));
    for id in rest {
        if list.services.len() == limit {
            list.next.clone_from(after);
            return false;
        }
        if counted >= STRETCH {
            return false;
        }
        let counts = ServiceCounts::count(&catalog, id);
        counted += counts.instances;
        *after = Some(counts.service.clone());
        list.services.push(counts);
    }
    true
}

async fn local(State(context): State<OwnerContext>) -> Result<Json<LocalServices>, ApiError> {
    let instances = context.running_names()?.registry.list().await;
    Ok(Json(LocalServices {
        node: context.node.clone(),
        instances: instances
            .map_err(refused)?
            .into_iter()
            .map(LocalService::new)
            .collect(),
    }))
}

async fn register(
    State(context): State<OwnerContext>,
    body: Bytes,
) -> Result<Json<RegisterDone>, ApiError> {
    let names = context.running_names()?;
    let registration: Registration = serde_json::from_slice(&body).map_err(|error| {
        let code = match error.classify() {
            serde_json::error::Category::Data => Code::Invalid,
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => Code::BadRequest,
        };
        ApiError::new(code, format!("the registration is refused: {error}"))
            .hint("docs/cli.md has the fields of a registration")
    })?;
    let instance = registration.instance.clone();
    let outcome = names.registry.register(registration, Origin::Api).await;
    let outcome = match outcome.map_err(refused)? {
        Registered::Created => "created",
        Registered::Replaced => "replaced",
        Registered::Unchanged => "unchanged",
    };
    tracing::info!(%instance, outcome, "service registered by request");
    Ok(Json(RegisterDone {
        instance,
        outcome: outcome.to_owned(),
    }))
}

async fn deregister(
    State(context): State<OwnerContext>,
    Path(instance): Path<String>,
) -> Result<Json<LocalService>, ApiError> {
    let names = context.running_names()?;
    let id = find(names, &instance).await?;
    let removed = names.registry.deregister(id).await.map_err(refused)?;
    let mut removed = LocalService::new(removed);
    for address in &mut removed.addresses {
        address.announced = None;
    }
    tracing::info!(instance = %removed.instance, "service deregistered by request");
    Ok(Json(removed))
}

async fn drain(
    State(context): State<OwnerContext>,
    Path(instance): Path<String>,
) -> Result<Json<LocalService>, ApiError> {
    set(&context, &instance, Admin::Draining).await
}

async fn undrain(
    State(context): State<OwnerContext>,
    Path(instance): Path<String>,
) -> Result<Json<LocalService>, ApiError> {
    set(&context, &instance, Admin::Normal).await
}

async fn maintenance(
    State(context): State<OwnerContext>,
    Path(instance): Path<String>,
    body: Bytes,
) -> Result<Json<LocalService>, ApiError> {
    let request: MaintenanceRequest = if body.is_empty() {
        MaintenanceRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            ApiError::new(
                Code::BadRequest,
                format!("the body is not what was expected: {error}"),
            )
            .hint("send nothing, or {\"reason\": \"TEXT\"}")
        })?
    };
    if request.reason.chars().count() > LONGEST_REASON {
        let message = format!("the reason is longer than {LONGEST_REASON} characters");
        return Err(ApiError::new(Code::BadRequest, message));
    }
    set(&context, &instance, Admin::Maintenance(request.reason)).await
}

async fn set(
    context: &OwnerContext,
    instance: &str,
    admin: Admin,
) -> Result<Json<LocalService>, ApiError> {
    let names = context.running_names()?;
    let id = find(names, instance).await?;
    let done = names.registry.set_admin(id.clone(), admin.clone()).await;
    done.map_err(refused)?;
    tracing::info!(instance = %id, ?admin, "set by request");
    let instances = names.registry.list().await.map_err(refused)?;
    let found = instances
        .into_iter()
        .find(|instance| instance.registration.instance == id);
    found
        .map(|instance| Json(LocalService::new(instance)))
        .ok_or_else(|| refused(RequestError::Unknown(id)))
}

/// An instance by its id, or by the name of a service that has one instance here.
async fn find(names: &NamesContext, text: &str) -> Result<InstanceId, ApiError> {
    let instances = names.registry.list().await.map_err(refused)?;
    let mut of_service: BTreeMap<InstanceId, ()> = BTreeMap::new();
    let service: Option<ServiceId> = text.parse().ok();
    for Instance { registration, .. } in instances {
        if registration.instance.as_str() == text {
            return Ok(registration.instance);
        }
        let id = ServiceId::new(&registration.name, &registration.namespace);
        if service.as_ref() == Some(&id) {
            of_service.insert(registration.instance, ());
        }
    }
    let ids: Vec<&str> = of_service.keys().map(InstanceId::as_str).collect();
    match ids.as_slice() {
        [_] => Ok(of_service
            .into_keys()
            .next()
            .expect("invariant: there is one")),
        [] => Err(ApiError::new(
            Code::NotFound,
            format!("no instance or service `{text}` is registered on this host"),
        )
        .hint("`wayleave services --local` lists those that are")),
        ids => Err(ApiError::new(
            Code::Conflict,
            format!("service `{text}` has {} instances on this host", ids.len()),
        )
        .hint(format!("name one of them: {}", ids.join(", ")))),
    }
}

fn refused(error: RequestError) -> ApiError {
    let code = match &error {
        RequestError::Register(RegisterError::Owned { .. }) | RequestError::Owned { .. } => {
            Code::Conflict
        }
        RequestError::Register(_) => Code::Invalid,
        RequestError::Unknown(_) => Code::NotFound,
        RequestError::Store { .. } | RequestError::Stopping => Code::Unavailable,
    };
    let refusal = ApiError::new(code, error.to_string());
    match error {
        RequestError::Store { .. } => {
            refusal.hint("nothing was changed; see the disk of [paths] state, and try again")
        }
        RequestError::Register(_)
        | RequestError::Owned { .. }
        | RequestError::Unknown(_)
        | RequestError::Stopping => refusal,
    }
}
