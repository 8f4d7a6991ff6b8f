# Tests whose kernels run on the GPU in software, and a sample of their cases: as capability 9.0, whose tensor cores and
# copies are Hopper's, and as 8.0. A name may be followed by part of a case's. What takes minutes has the label "long".
set(npr_on_90 backward cuda_linear:tiles device_draws exactness:micro golden invariants:finish linear lora policy
  policy_batch rows training_arrays)
set(npr_on_80 backward golden linear:reference)
set(npr_long_on_90 attention cuda cuda_linear exactness invariants model pass)
set(npr_long_on_80 attention cuda_linear device_draws exactness model)
foreach(capability 90 80)
  foreach(length "" long_)
    foreach(entry IN LISTS npr_${length}on_${capability})
      string(REPLACE ":" ";" parts ${entry})
      list(GET parts 0 name)
      list(REMOVE_AT parts 0)
      set(test software_gpu_${length}${capability}_${name})
      add_test(NAME ${test} COMMAND ${name}_test ${parts})
      set_tests_properties(${test} PROPERTIES ENVIRONMENT
        "NPR_SOFTWARE_GPU_CAPABILITY=${capability};NPR_TEST_DEVICE=cuda;NPR_TEST_STRIDE=37")
      if(length)
        set_tests_properties(${test} PROPERTIES LABELS long)
      endif()
    endforeach()
  endforeach()
endforeach()
