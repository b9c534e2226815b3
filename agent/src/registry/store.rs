//! What the registry needs of durable state.

use wayleave_discovery::{names::InstanceId, registry::Instance};

use crate::store::{StoreHandle, Table, Write};

/// Why services were not stored, for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceStoreError(pub String);

/// Durable state of services.
pub trait ServiceStore: Send + Sync + 'static {
    /// Makes each record what stands beside its id; none removes it, also when it is not there. All of them are
    /// durable once this returns `Ok`; after an error each may be or not.
    fn write(
        &self,
        records: Vec<(InstanceId, Option<Instance>)>,
    ) -> impl Future<Output = Result<(), ServiceStoreError>> + Send;
}

impl ServiceStore for StoreHandle {
    async fn write(
        &self,
        records: Vec<(InstanceId, Option<Instance>)>,
    ) -> Result<(), ServiceStoreError> {
        let writes = records.iter().map(|(id, instance)| match instance {
            Some(instance) => Write::put(Table::Services, id.as_str(), instance),
            None => Ok(Write::delete(Table::Services, id.as_str())),
        });
        let writes = writes.collect::<Result<_, _>>().map_err(told)?;
        self.commit(writes).await.map_err(told)
    }
}

fn told(error: crate::store::StoreError) -> ServiceStoreError {
    ServiceStoreError(error.to_string())
}
