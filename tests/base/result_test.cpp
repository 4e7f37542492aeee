// Result, Status, Error and the macros.
#include <catch2/catch.hpp>
#include <cerrno>
#include <memory>
#include <string>

#include "base/result.h"

using namespace holdfast;

namespace {
Result<int> half(int number) {
  if (number % 2 != 0) return make_error(ErrorCode::kUsage, std::to_string(number) + " is odd");
  return number / 2;
}
Status check_even(int number) {
  TRY(half(number));
  return {};
}
Result<std::string> quarter(int number) {
  TRY_ASSIGN(const int first, half(number));
  TRY_ASSIGN(const int second, half(first));
  return std::to_string(second);
}
Result<std::unique_ptr<int>> boxed(int number) {
  TRY_ASSIGN(auto box, Result<std::unique_ptr<int>>(std::make_unique<int>(number)));
  return box;
}
}  // namespace

TEST_CASE("a result holds a value or an error", "[result]") {
  const Result<int> good = half(4);
  REQUIRE(good.ok());
  CHECK(static_cast<bool>(good));
  CHECK(*good == 2);
  const Result<int> bad = half(3);
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().code == ErrorCode::kUsage);
  CHECK(bad.error().message == "3 is odd");
  Result<std::string> text = quarter(8);
  CHECK(text->size() == 1);
  CHECK(*std::move(text) == "2");
}

TEST_CASE("TRY hands errors on and values through", "[result]") {
  CHECK(check_even(2).ok());
  CHECK(check_even(3).error().message == "3 is odd");
  CHECK(*quarter(12) == "3");
  CHECK(quarter(6).error().message == "3 is odd");
  auto box = boxed(7);
  REQUIRE(box.ok());
  CHECK(**box == 7);
}

TEST_CASE("a result of an error type's sibling keeps them apart", "[result]") {
  const Result<ErrorCode> value(ErrorCode::kDamaged);
  CHECK(value.ok());
}

TEST_CASE("errno becomes a code and a sentence", "[result]") {
  struct Row {
    int sys_errno;
    ErrorCode code;
  };
  const Row rows[] = {
      {ENOENT, ErrorCode::kNotFound},    {ENOTDIR, ErrorCode::kNotFound},
      {EEXIST, ErrorCode::kExists},      {ENOSPC, ErrorCode::kNoSpace},
      {EDQUOT, ErrorCode::kNoSpace},     {EACCES, ErrorCode::kPermission},
      {EPERM, ErrorCode::kPermission},   {EROFS, ErrorCode::kPermission},
      {ESTALE, ErrorCode::kChanged},     {EBUSY, ErrorCode::kBusy},
      {ENOSYS, ErrorCode::kUnsupported}, {EIO, ErrorCode::kFailed},
  };
  for (const Row& row : rows) {
    const Error error = errno_error(row.sys_errno, "doing it");
    CAPTURE(error.message);
    CHECK(error.code == row.code);
    CHECK(error.sys_errno == row.sys_errno);
    CHECK_THAT(error.message, Catch::StartsWith("doing it: "));
  }
}

TEST_CASE("context goes in front of a message", "[result]") {
  const Error error = errno_error(EACCES, "opening /x").in("restoring");
  CHECK_THAT(error.message, Catch::StartsWith("restoring: opening /x: "));
  CHECK(error.code == ErrorCode::kPermission);
  CHECK(error.sys_errno == EACCES);
}
