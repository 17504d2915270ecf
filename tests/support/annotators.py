"""People at Label Studio: they log in with their password, take the next task of the stream, and submit."""

import re
from typing import Any

import httpx


class Annotator:
    """One person's browser session, driven over HTTP. Close it."""

    def __init__(self, url: str, login: str, password: str) -> None:
        self.login = login
        self._http = httpx.Client(base_url=url, follow_redirects=True, trust_env=False, timeout=60)
        form = self._http.get("/user/login/").text
        (hidden,) = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form))
        data = {"email": login, "password": password, "csrfmiddlewaretoken": hidden}
        answer = self._http.post("/user/login/", data=data, headers={"Referer": f"{url}/user/login/"})
        assert answer.status_code == 200 and "/user/login" not in str(answer.url), answer.url

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def next_task(self, project: int) -> dict[str, Any] | None:
        """The task that the stream offers; None when there is nothing to do."""
        answer = self._http.get(f"/api/projects/{project}/next/")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, task: int, result: list[dict[str, Any]], lead_time: float = 75.0) -> None:
        headers = {"X-CSRFToken": self._http.cookies["csrftoken"], "Referer": str(self._http.base_url)}
        body = {"result": result, "lead_time": lead_time}
        answer = self._http.post(f"/api/tasks/{task}/annotations/", json=body, headers=headers)
        assert answer.status_code == 201, answer.text

    def do_all(self, project: int, answer: Any, most: int = 1000) -> int:
        """Answer tasks until the stream is empty; return how many."""
        for done in range(most):
            task = self.next_task(project)
            if task is None:
                return done
            self.submit(task["id"], answer(task["data"]))
        return most


def choices(name: str, *chosen: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": list(chosen)}}


def textarea(name: str, text: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": "textarea", "value": {"text": [text]}}


def rating(name: str, stars: int) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": "rating", "value": {"rating": stars}}


def description(text: str, *regions: str) -> list[dict[str, Any]]:
    return [
        choices("verdict", "visible"),
        choices("regions", *regions),
        textarea("report", text),
        rating("difficulty", 2),
    ]
