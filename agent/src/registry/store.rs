//! What the registry needs of durable state.

use wayleave_discovery::{names::InstanceId, registry::Instance};

use crate::store::{StoreHandle, Table, Write};

/// Why a service was not stored, for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceStoreError(pub String);

/// Durable state of services.
pub trait ServiceStore: Send + Sync + 'static {
    /// Stores an instance in the place of the one with its id. Durable once this returns `Ok`.
    fn save(
        &self,
        instance: &Instance,
    ) -> impl Future<Output = Result<(), ServiceStoreError>> + Send;

    /// Removes an instance; one that is not there is removed already.
    fn remove(
        &self,
        instance: &InstanceId,
    ) -> impl Future<Output = Result<(), ServiceStoreError>> + Send;
}

impl ServiceStore for StoreHandle {
    async fn save(&self, instance: &Instance) -> Result<(), ServiceStoreError> {
        let id = instance.registration.instance.as_str();
        let write = Write::put(Table::Services, id, instance).map_err(told)?;
        self.commit(vec![write]).await.map_err(told)
    }

    async fn remove(&self, instance: &InstanceId) -> Result<(), ServiceStoreError> {
        let write = Write::delete(Table::Services, instance.as_str());
        self.commit(vec![write]).await.map_err(told)
    }
}

fn told(error: crate::store::StoreError) -> ServiceStoreError {
    ServiceStoreError(error.to_string())
}
