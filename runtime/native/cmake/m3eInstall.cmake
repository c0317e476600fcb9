# SPDX-License-Identifier: Apache-2.0
# Installs header, libraries, and what CMake and pkg-config need to find them. In a wheel all of it lies in the
# package m3e_runtime, without the static library.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(M3E_WHEEL)
  set(include_dir m3e_runtime/engine/include)
  set(lib_dir m3e_runtime/engine/lib)
  set(bin_dir ${lib_dir})
else()
  set(include_dir ${CMAKE_INSTALL_INCLUDEDIR})
  set(lib_dir ${CMAKE_INSTALL_LIBDIR})
  set(bin_dir ${CMAKE_INSTALL_BINDIR})
endif()

install(FILES include/m3e.h DESTINATION ${include_dir})
install(TARGETS m3e RUNTIME DESTINATION ${bin_dir} LIBRARY DESTINATION ${lib_dir} ARCHIVE DESTINATION ${lib_dir})

# What a program needs that links the static library: the C++ runtime, unless it is in the library.
if(APPLE)
  set(runtime c++)
elseif(NOT WIN32 OR MINGW)
  set(runtime stdc++)
endif()
set(M3E_CXX_RUNTIME "${runtime}" CACHE STRING "Libraries of C++ that the static library needs")
set(static_needs ${M3E_CXX_RUNTIME})
if(UNIX)
  list(APPEND static_needs m)
endif()
list(TRANSFORM static_needs PREPEND "-l" OUTPUT_VARIABLE static_flags)
list(JOIN static_flags " " static_flags)

# Paths in these two files are relative to where they lie, so that the whole folder can be moved.
file(RELATIVE_PATH include_from_lib /${lib_dir} /${include_dir})
file(RELATIVE_PATH bin_from_lib /${lib_dir} /${bin_dir})
if(WIN32)
  set(import_library "$<TARGET_LINKER_FILE_NAME:m3e>")
else()
  set(soname "$<TARGET_SONAME_FILE_NAME:m3e>")
endif()
configure_file(cmake/m3eConfig.cmake.in m3eConfig.cmake.in @ONLY)
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/m3eConfig.cmake INPUT ${CMAKE_CURRENT_BINARY_DIR}/m3eConfig.cmake.in)
write_basic_package_version_file(m3eConfigVersion.cmake VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/m3eConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/m3eConfigVersion.cmake
        DESTINATION ${lib_dir}/cmake/m3e)
configure_file(cmake/m3e.pc.in m3e.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/m3e.pc DESTINATION ${lib_dir}/pkgconfig)

if(NOT M3E_WHEEL)
  install(TARGETS m3e_static ARCHIVE DESTINATION ${lib_dir})
  if(TARGET m3e_command)
    install(TARGETS m3e_command RUNTIME DESTINATION ${bin_dir})
  endif()
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/m3e)
endif()
