//! What a vGPU says of its display interrupts, and what it answers to two requests.
//!
//! `cargo run -p irqbroker-vfio-abi --example decode`

use std::error::Error;

use irqbroker_vfio_abi::DisplayEvent;
use irqbroker_vfio_abi::DisplayEventKind;
use irqbroker_vfio_abi::InfoError;
use irqbroker_vfio_abi::IrqAction;
use irqbroker_vfio_abi::IrqCapability;
use irqbroker_vfio_abi::IrqData;
use irqbroker_vfio_abi::IrqFlags;
use irqbroker_vfio_abi::IrqIndex;
use irqbroker_vfio_abi::IrqInfo;
use irqbroker_vfio_abi::IrqLimits;
use irqbroker_vfio_abi::IrqSet;
use irqbroker_vfio_abi::IrqType;
use irqbroker_vfio_abi::PlaneMask;
use irqbroker_vfio_abi::block_set_irqs;

fn main() -> Result<(), Box<dyn Error>> {
    let index = IrqIndex(IrqIndex::PCI_NUM);
    let event = |sub_index, kind, planes| DisplayEvent {
        sub_index,
        kind,
        head: 0,
        planes,
    };
    let display = IrqInfo {
        index,
        flags: IrqFlags::EVENTFD | IrqFlags::MASKABLE,
        count: 2,
        capabilities: vec![
            IrqCapability::Type(IrqType::GFX_DISPLAY),
            IrqCapability::Display(vec![
                event(0, DisplayEventKind::VBLANK, PlaneMask::empty()),
                event(1, DisplayEventKind::FLIP, PlaneMask::PRIMARY),
            ]),
        ],
    };

    // As user space asks: first with the structure alone, then with the room it is told of.
    let answer = display.encode(16)?;
    if let Err(InfoError::BufferTooSmall { needed }) = IrqInfo::decode(&answer) {
        println!("16 bytes are too few, {needed} are needed");
        println!("{:#?}", IrqInfo::decode(&display.encode(needed)?)?);
    }

    let limits = IrqLimits {
        num_irqs: index.0 + 1,
        count: display.count,
    };
    for (start, count) in [(1, 1), (1, 2)] {
        let request = IrqSet {
            index,
            start,
            action: IrqAction::Mask,
            data: IrqData::None { count },
        };
        let answer = request
            .header()
            .validate(limits)
            .and_then(|valid| block_set_irqs(&valid, display.flags));
        println!("mask {count} from {start}: {answer:?}");
    }
    Ok(())
}
