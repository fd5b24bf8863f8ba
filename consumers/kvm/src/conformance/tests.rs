use super::*;

#[test]
fn sim_keeps_every_rule_of_either_kernel_profile() {
    for global_irqfd in [false, true] {
        for body in all() {
            let rig = SimRig::new(KernelProfile { global_irqfd });
            assert!(body.runs_on(&rig), "{}", body.name);
            (body.run)(&rig);
        }
    }
}

#[test]
fn bodies_have_names_of_their_own() {
    let mut names: Vec<&str> = all().iter().map(|body| body.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all().len());
}
