/** Facts: WolframAlpha, Wikipedia and Open-Meteo. The last two need no key. */
import { choice, decimal, keyField, list, text, whole, words, type BuiltinSource, type Values } from "./parts.js";

export const wolfram: BuiltinSource = {
  name: "wolframalpha",
  title: "WolframAlpha",
  description: "Computed answers: mathematics, units, science, dates, places.",
  docs_url: "https://products.wolframalpha.com/api/documentation",
  key_url: "https://developer.wolframalpha.com/access",
  auth: { type: "api_key", in: "query", name: "appid" },
  form: [
    keyField(
      "AppID",
      "Made in the WolframAlpha developer portal. Each API there has AppIDs of its own: take Full Results.",
    ),
  ],
  bases: [{ title: "WolframAlpha", url: "https://api.wolframalpha.com" }],
  operations: [
    {
      id: "query",
      method: "get",
      path: "/v2/query?output=json&format=plaintext",
      title: "Ask",
      description: "Gives all that WolframAlpha computes for a question, in parts (pods).",
      query: {
        input: words("The question, best in short English.", 1000),
        units: choice("Units of the answer.", "metric", "nonmetric"),
        includepodid: text("Only the part of this id, such as Result."),
        location: text("Where the question is asked, such as Berlin."),
        totaltimeout: whole("Seconds to compute at most.", 1, 60),
      },
      required: ["input"],
    },
    {
      id: "short_answer",
      method: "get",
      path: "/v1/result",
      title: "Ask for one line",
      description: "Gives the answer in one line of text. Needs an AppID of the Short Answers API.",
      query: { i: words("The question.", 1000), units: choice("Units of the answer.", "metric", "imperial") },
      required: ["i"],
    },
  ],
};

export const wikipedia: BuiltinSource = {
  name: "wikipedia",
  title: "Wikipedia",
  description: "The English Wikipedia: search, summaries and the text of articles.",
  docs_url: "https://www.mediawiki.org/wiki/API:Main_page",
  key_url: null,
  auth: { type: "none" },
  form: [],
  bases: [{ title: "English", url: "https://en.wikipedia.org" }],
  operations: [
    {
      id: "search",
      method: "get",
      path: "/w/api.php?action=query&list=search&format=json&formatversion=2",
      title: "Search",
      description: "Finds articles, with a snippet of each.",
      query: {
        srsearch: words("What to search for.", 300),
        srlimit: whole("How many articles.", 1, 50),
        sroffset: whole("How many to skip.", 0, 9_999),
      },
      required: ["srsearch"],
    },
    {
      id: "get_article",
      method: "get",
      path: "/w/api.php?action=query&prop=extracts&explaintext=1&redirects=1&format=json&formatversion=2",
      title: "Read an article",
      description: "Gives an article's text.",
      query: {
        titles: words("The article's title.", 255),
        exintro: choice("Give only what stands before the first heading.", "1"),
        exchars: whole("How many characters at most.", 1, 1200),
      },
      required: ["titles"],
    },
    {
      id: "get_summary",
      method: "get",
      path: "/api/rest_v1/page/summary/{title}",
      title: "Summary",
      description: "Gives an article's first paragraph and picture.",
      in_path: { title: words("The article's title.", 255) },
    },
  ],
};

const place: Values = {
  latitude: decimal("Degrees north.", -90, 90),
  longitude: decimal("Degrees east.", -180, 180),
};

export const openMeteo: BuiltinSource = {
  name: "open_meteo",
  title: "Open-Meteo weather",
  description: "Weather forecasts for any place, free for non-commercial use.",
  docs_url: "https://open-meteo.com/en/docs",
  key_url: null,
  auth: { type: "none" },
  form: [],
  bases: [{ title: "Open-Meteo", url: "https://api.open-meteo.com" }],
  operations: [
    {
      id: "forecast",
      method: "get",
      path: "/v1/forecast",
      title: "Forecast",
      description: "Gives the weather at a place: as it is, by hour and by day. Name the variables that are wanted.",
      query: {
        ...place,
        current: list("Of this moment: temperature_2m, wind_speed_10m, precipitation, weather_code …", 50),
        hourly: list("By hour: temperature_2m, relative_humidity_2m, precipitation_probability, cloud_cover …", 50),
        daily: list("By day: temperature_2m_max, temperature_2m_min, precipitation_sum, sunrise, sunset …", 50),
        timezone: text("Of the times in the answer, such as Europe/Berlin; auto takes the place's. Needed with daily."),
        forecast_days: whole("How many days ahead.", 0, 16),
        past_days: whole("How many days back.", 0, 92),
        temperature_unit: choice("Unit of temperatures.", "celsius", "fahrenheit"),
        wind_speed_unit: choice("Unit of wind speeds.", "kmh", "ms", "mph", "kn"),
        precipitation_unit: choice("Unit of rain and snow.", "mm", "inch"),
      },
      required: ["latitude", "longitude"],
      joined: ["current", "hourly", "daily"],
    },
    {
      id: "elevation",
      method: "get",
      path: "/v1/elevation",
      title: "Elevation",
      description: "Gives how high a place lies, in metres.",
      query: place,
      required: ["latitude", "longitude"],
    },
  ],
};

export const openMeteoPlaces: BuiltinSource = {
  name: "open_meteo_places",
  title: "Open-Meteo places",
  description: "Coordinates of places by name, as the weather forecast needs them.",
  docs_url: "https://open-meteo.com/en/docs/geocoding-api",
  key_url: null,
  auth: { type: "none" },
  form: [],
  bases: [{ title: "Open-Meteo", url: "https://geocoding-api.open-meteo.com" }],
  operations: [
    {
      id: "find_place",
      method: "get",
      path: "/v1/search",
      title: "Find a place",
      description: "Gives places of a name with their coordinates, country and time zone.",
      query: {
        name: words("The place's name or postal code.", 200),
        count: whole("How many places.", 1, 100),
        language: text("Language of the names, such as en."),
        countryCode: text("Only places of this two-letter country."),
      },
      required: ["name"],
    },
  ],
};
