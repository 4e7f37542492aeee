# What is installed where, and the Debian package that cpack makes of it (./dev package).
include(GNUInstallDirs)
install(TARGETS holdfast RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES systemd/holdfast.service systemd/holdfast@.service DESTINATION lib/systemd/system)
install(FILES systemd/holdfast.sysusers DESTINATION lib/sysusers.d RENAME holdfast.conf)
install(FILES systemd/holdfast.tmpfiles DESTINATION lib/tmpfiles.d RENAME holdfast.conf)
install(FILES systemd/holdfast.catalog DESTINATION lib/systemd/catalog)
install(FILES systemd/network.conf systemd/inotify.conf deploy/holdfast.toml
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES deploy/default.toml DESTINATION /etc RENAME holdfast.toml)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
foreach(page README.md CHANGELOG.md LICENSE)
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME holdfast)
set(CPACK_PACKAGE_CONTACT "The Holdfast authors <holdfast@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "watches directories and keeps every version of every file")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
# The libraries' packages and their least versions come from dpkg-shlibdeps, so they are never stale.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(deb_scripts ${PROJECT_SOURCE_DIR}/cmake/deb)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${deb_scripts}/conffiles ${deb_scripts}/postinst
    ${deb_scripts}/prerm ${deb_scripts}/postrm)
include(CPack)
