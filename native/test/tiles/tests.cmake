# Tests of what AMX computes, with its instructions in software.
foreach(name attention backward cpu_backend exactness golden int8 linear model training_graph)
  if(TARGET ${name}_test)
    add_test(NAME software_tiles_${name} COMMAND ${name}_test)
    set_tests_properties(software_tiles_${name} PROPERTIES ENVIRONMENT NPR_SOFTWARE_TILES=1)
  endif()
endforeach()
