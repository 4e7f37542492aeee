# What is installed where, and the Debian package that cpack makes of it (./dev package).
include(GNUInstallDirs)
install(TARGETS holdfast RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES systemd/holdfast.service systemd/holdfast@.service DESTINATION lib/systemd/system)
install(FILES systemd/holdfast.sysusers DESTINATION lib/sysusers.d RENAME holdfast.conf)
install(FILES systemd/holdfast.tmpfiles DESTINATION lib/tmpfiles.d RENAME holdfast.conf)
install(FILES systemd/holdfast.catalog DESTINATION lib/systemd/catalog)
install(FILES systemd/network.conf systemd/inotify.conf systemd/inbox.conf deploy/holdfast.toml
        deploy/prometheus/holdfast.rules.yml
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES deploy/grafana/holdfast.json DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/grafana)
install(FILES deploy/default.toml DESTINATION /etc RENAME holdfast.toml)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
foreach(page CHANGELOG.md LICENSE)
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
endforeach()
# README.md there is the guide's index (docs/README.md).
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME TOUR.md)

# Written by the program itself, of the words of its --help.
set(manual ${CMAKE_CURRENT_BINARY_DIR}/manual)
add_custom_command(
  OUTPUT ${manual}/holdfast.1.gz ${manual}/holdfast.bash ${manual}/_holdfast ${manual}/holdfast.fish
  COMMAND ${CMAKE_COMMAND} -E make_directory ${manual}
  COMMAND holdfast manual man > ${manual}/holdfast.1
  COMMAND gzip -9nf ${manual}/holdfast.1
  COMMAND holdfast manual bash > ${manual}/holdfast.bash
  COMMAND holdfast manual zsh > ${manual}/_holdfast
  COMMAND holdfast manual fish > ${manual}/holdfast.fish
  DEPENDS holdfast)
add_custom_target(manual ALL DEPENDS ${manual}/holdfast.1.gz)
install(FILES ${manual}/holdfast.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${manual}/holdfast.bash DESTINATION share/bash-completion/completions RENAME holdfast)
install(FILES ${manual}/_holdfast DESTINATION share/zsh/vendor-completions)
install(FILES ${manual}/holdfast.fish DESTINATION share/fish/vendor_completions.d)

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
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)  # alerts by https
set(deb_scripts ${PROJECT_SOURCE_DIR}/cmake/deb)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${deb_scripts}/conffiles ${deb_scripts}/postinst
    ${deb_scripts}/prerm ${deb_scripts}/postrm)
include(CPack)
