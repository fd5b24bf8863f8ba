use super::*;
use std::os::fd::AsFd;

use irqbroker_core::Producer;
use irqbroker_vfio_abi::Device;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqSet;

use crate::device::OpenError;
use crate::fakes::create;
use crate::granularity::Granularity;
use crate::head::HeadId;
use crate::instance::MAX_HEADS;
use crate::refresh::Refresh;
use crate::scheduler::VblankScheduler;

fn parent() -> VgpuParent {
    VgpuParent::new(VblankScheduler::new(Granularity::Exact))
}

#[test]
fn producers_are_named_by_instance_and_head() {
    let parent = parent();
    let instance = create(&parent, &[Refresh::HZ_60; 2]);
    let producer: Arc<dyn Producer> = instance.head(HeadId(1)).unwrap().producer();
    assert_eq!(producer.name(), "vgpu0.head1.vblank");
    assert!(instance.head(HeadId(2)).is_none());
}

#[test]
fn create_with_too_few_or_too_many_heads_is_refused_and_creates_nothing() {
    let parent = parent();
    for heads in [0, MAX_HEADS + 1] {
        let config = InstanceConfig {
            name: Some("gpu".into()),
            heads: vec![Refresh::HZ_60; heads],
        };
        let refused = parent.create(config);
        assert!(matches!(refused, Err(CreateError::HeadCount { heads: h }) if h == heads));
    }
    assert!(parent.instances().is_empty());
    assert_eq!(
        create(&parent, &[Refresh::HZ_60; MAX_HEADS]).heads().len(),
        MAX_HEADS
    );
}

#[test]
fn device_is_created_of_its_type_and_found_with_its_instance() {
    let parent = parent();
    let dual = VgpuType::find("dual").unwrap();
    let device = parent.create_device(&dual, Some("gpu".into())).unwrap();
    let instance = device.instance();
    assert_eq!((instance.name(), instance.heads().len()), ("gpu", 2));
    assert_eq!(device.vgpu_type(), &dual);
    assert!(Arc::ptr_eq(&parent.device(instance.id()).unwrap(), &device));
    assert!(Arc::ptr_eq(&parent.get(instance.id()).unwrap(), instance));
    let bare = create(&parent, &[Refresh::HZ_60]);
    assert!(parent.device(bare.id()).is_none());
}

#[test]
fn device_beyond_the_budget_is_refused_and_takes_nothing() {
    // One of 16 MiB and then none of 8.
    let budget = VgpuBudget {
        vram: 20 << 20,
        devices: 2,
    };
    let scheduler = VblankScheduler::new(Granularity::Exact);
    let parent = VgpuParent::with_budget(scheduler, budget);
    let [small, medium] = ["small", "medium"].map(|name| VgpuType::find(name).unwrap());
    let device = parent.create_device(&medium, None).unwrap();
    let left = parent.budget_left();
    let refused = parent.create_device(&small, None).unwrap_err();
    let source = BudgetError::Vram {
        needed: 8 << 20,
        left: 4 << 20,
    };
    assert!(matches!(refused, CreateDeviceError::Budget { source: s, .. } if s == source));
    assert_eq!((parent.budget_left(), parent.instances().len()), (left, 1));
    parent.destroy(device.instance().id()).unwrap();
    drop(device);
    assert_eq!(parent.budget_left(), budget);
    parent.create_device(&small, None).unwrap();
}

#[test]
fn device_of_a_type_that_cannot_be_is_refused_and_takes_nothing() {
    let parent = parent();
    let vgpu = VgpuType {
        heads: 0,
        ..VgpuType::find("small").unwrap()
    };
    let refused = parent.create_device(&vgpu, None).unwrap_err();
    let source = TypeError::Heads { heads: 0 };
    assert!(matches!(refused, CreateDeviceError::Type { source: s, .. } if s == source));
    assert_eq!(parent.budget_left(), VgpuBudget::UNLIMITED);
    assert!(parent.instances().is_empty());
}

#[test]
fn destroyed_instance_is_not_found_and_its_id_not_given_again() {
    let parent = parent();
    let first = create(&parent, &[Refresh::HZ_60]).id();
    parent.destroy(first).unwrap();
    assert!(parent.get(first).is_none());
    assert_eq!(
        parent.destroy(first),
        Err(DestroyError::Unknown { id: first })
    );
    let second = create(&parent, &[Refresh::HZ_60]).id();
    assert_ne!(second, first);
    assert_eq!(parent.get(second).unwrap().id(), second);
}

fn uuid(last: u8) -> VgpuUuid {
    let mut bytes = [0x11; 16];
    bytes[15] = last;
    VgpuUuid::from_bytes(bytes)
}

#[test]
fn device_is_created_found_and_destroyed_by_its_uuid_once() {
    let parent = parent();
    let small = VgpuType::find("small").unwrap();
    let device = parent.create_device_as(uuid(1), &small, None).unwrap();
    assert!(Arc::ptr_eq(&parent.find(uuid(1)).unwrap(), &device));
    let again = parent.create_device_as(uuid(1), &small, None).unwrap_err();
    assert!(matches!(again, CreateDeviceError::Exists { uuid: u } if u == uuid(1)));
    parent.destroy_uuid(uuid(1)).unwrap();
    assert!(parent.find(uuid(1)).is_none());
    let gone = parent.destroy_uuid(uuid(1));
    assert_eq!(gone, Err(DestroyError::UnknownUuid { uuid: uuid(1) }));
    parent.create_device_as(uuid(1), &small, None).unwrap();
    assert_eq!(parent.instances().len(), 1);
}

#[test]
fn uuid_of_a_device_that_could_not_be_created_can_be_used_again() {
    let parent = parent();
    let small = VgpuType::find("small").unwrap();
    let bad = VgpuType {
        heads: 0,
        ..small.clone()
    };
    parent.create_device_as(uuid(1), &bad, None).unwrap_err();
    assert!(parent.find(uuid(1)).is_none());
    parent.create_device_as(uuid(1), &small, None).unwrap();
}

#[test]
fn available_instances_follow_memory_devices_and_what_is_created() {
    let budget = VgpuBudget {
        vram: 40 << 20,
        devices: 4,
    };
    let scheduler = VblankScheduler::new(Granularity::Exact);
    let parent = VgpuParent::with_budget(scheduler, budget);
    let types = ["small", "medium", "uhd"].map(|name| VgpuType::find(name).unwrap());
    let available = || {
        types
            .each_ref()
            .map(|vgpu| parent.available_instances(vgpu))
    };
    assert_eq!(available(), [4, 2, 0]);
    let [small, medium, _] = &types;
    let device = parent.create_device(medium, None).unwrap();
    assert_eq!(available(), [3, 1, 0]);
    parent.create_device(medium, None).unwrap();
    assert_eq!(available(), [1, 0, 0]);
    parent.create_device(small, None).unwrap();
    assert_eq!(available(), [0, 0, 0]);
    parent.create_device(small, None).unwrap_err();
    parent.destroy(device.instance().id()).unwrap();
    drop(device);
    assert_eq!(available(), [2, 1, 0]);
    let none = VgpuType {
        heads: 0,
        ..small.clone()
    };
    assert_eq!(parent.available_instances(&none), 0);
}

#[test]
fn device_in_use_is_neither_destroyed_nor_opened_again() {
    let parent = parent();
    let small = VgpuType::find("small").unwrap();
    let device = parent.create_device_as(uuid(1), &small, None).unwrap();
    let id = device.instance().id();
    let open = device.open().unwrap();
    assert_eq!(device.open().unwrap_err(), OpenError::InUse { id });
    assert_eq!(parent.destroy(id), Err(DestroyError::InUse { id }));
    assert_eq!(
        parent.destroy_uuid(uuid(1)),
        Err(DestroyError::InUse { id })
    );
    assert!(parent.find(uuid(1)).is_some());
    assert!(parent.get(id).is_some());
    drop(open);
    drop(device.open().unwrap());
    parent.destroy_uuid(uuid(1)).unwrap();
    assert_eq!(device.open().unwrap_err(), OpenError::Destroyed { id });
}

#[test]
fn device_that_is_closed_keeps_nothing_of_what_its_user_bound() {
    let parent = parent();
    let small = VgpuType::find("small").unwrap();
    let device = parent.create_device(&small, None).unwrap();
    let open = device.open().unwrap();
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    let fds = [Some(event.as_fd())];
    for index in [IrqIndex::REQ, IrqIndex::ERR] {
        let request = IrqSet {
            index,
            start: 0,
            action: IrqAction::Trigger,
            data: IrqData::Eventfds(&fds),
        };
        open.set_irqs(&request).unwrap();
    }
    assert!(device.request_unplug());
    drop(open);
    assert!(!device.request_unplug());
    assert!(!device.report_error());
}
