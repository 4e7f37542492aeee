// BoundedQueue, by itself and between threads. Threads are joined, nothing sleeps.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "base/queue.h"

using namespace holdfast;

TEST_CASE("a bounded queue is first in, first out, and says when it is full", "[queue]") {
  BoundedQueue<int> queue(2);
  int value = 1;
  CHECK(queue.try_push(value));
  CHECK(queue.push(2));
  value = 3;
  CHECK_FALSE(queue.try_push(value));
  CHECK(queue.size() == 2);
  CHECK(queue.pop() == 1);
  CHECK(queue.try_pop() == 2);
  CHECK_FALSE(queue.try_pop());
}

TEST_CASE("a value that is refused stays with its owner", "[queue]") {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  auto first = std::make_unique<int>(1);
  auto second = std::make_unique<int>(2);
  REQUIRE(queue.try_push(first));
  CHECK(first == nullptr);
  CHECK_FALSE(queue.try_push(second));
  REQUIRE(second != nullptr);
  CHECK(*second == 2);
}

TEST_CASE("a closed queue takes nothing and gives what it has", "[queue]") {
  BoundedQueue<int> queue(4);
  REQUIRE(queue.push(1));
  REQUIRE(queue.push(2));
  queue.close();
  int value = 3;
  CHECK_FALSE(queue.push(3));
  CHECK_FALSE(queue.try_push(value));
  CHECK(queue.pop() == 1);
  CHECK(queue.pop() == 2);
  CHECK_FALSE(queue.pop());
  CHECK_FALSE(queue.pop());
}

TEST_CASE("close wakes a consumer and a producer that wait", "[queue]") {
  BoundedQueue<int> empty(1);
  BoundedQueue<int> full(1);
  REQUIRE(full.push(1));
  std::atomic<int> ended{0};
  std::thread consumer([&] { ended += !empty.pop().has_value(); });
  std::thread producer([&] { ended += !full.push(2); });
  empty.close();
  full.close();
  consumer.join();
  producer.join();
  CHECK(ended == 2);
}

TEST_CASE("every value arrives once, each producer's in order", "[queue]") {
  constexpr int kProducers = 3;
  constexpr int kEach = 20'000;
  BoundedQueue<std::pair<int, int>> queue(8);
  std::vector<std::vector<std::pair<int, int>>> taken(2);
  std::vector<std::thread> producers;
  std::vector<std::thread> consumers;
  for (auto& mine : taken) {
    consumers.emplace_back([&queue, &mine] {
      while (const auto value = queue.pop()) mine.push_back(*value);
    });
  }
  for (int id = 0; id < kProducers; ++id) {
    producers.emplace_back([&queue, id] {
      for (int i = 0; i < kEach; ++i) queue.push({id, i});
    });
  }
  for (auto& producer : producers) producer.join();
  queue.close();
  for (auto& consumer : consumers) consumer.join();
  std::vector<int> seen(kProducers * kEach);
  for (const auto& mine : taken) {
    std::vector<int> last(kProducers, -1);
    for (const auto& [id, number] : mine) {
      REQUIRE(number > last[static_cast<size_t>(id)]);
      last[static_cast<size_t>(id)] = number;
      ++seen[static_cast<size_t>(id * kEach + number)];
    }
  }
  CHECK(std::count(seen.begin(), seen.end(), 1) == kProducers * kEach);
}
